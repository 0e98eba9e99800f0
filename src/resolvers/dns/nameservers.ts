import { isIP } from 'node:net';

/**
 * One nameserver as c-ares takes it: `10.96.0.10`, `10.96.0.10:5353`, `[fd00::a]:5353`. Checked with care, because
 * Node aborts on a port of 0 and takes ports above 65535 modulo 65536.
 *
 * @throws {TypeError | RangeError} naming `what` and the text
 */
export function checkNameserver(text: unknown, what: string): string {
  if (typeof text === 'string') {
    if (isIP(text) !== 0 && !text.includes('%')) return text;
    const match = /^(?:(\d+\.\d+\.\d+\.\d+)|\[([0-9a-fA-F:.]+)\])(?::(\d+))?$/.exec(text);
    const ip = match?.[1] ?? match?.[2];
    if (match !== null && ip !== undefined && isIP(ip) !== 0) {
      if (match[3] === undefined) return ip;
      const port = Number(match[3]);
      if (port < 1 || port > 65_535)
        throw new RangeError(
          `${what} has port ${match[3]} where 1 to 65535 is needed: ${JSON.stringify(text)}`,
        );
      return text;
    }
  }
  const shown = typeof text === 'string' ? JSON.stringify(text.slice(0, 80)) : String(text);
  throw new TypeError(`${what} must be an IP address with an optional port, got ${shown}`);
}
