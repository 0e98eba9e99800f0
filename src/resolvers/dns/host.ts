import { isIP } from 'node:net';
import { checkHost } from '../../core/target.ts';
import { canonicalAddress } from '../address.ts';

/** The addresses of hosts that need no DNS: IP addresses, and `localhost` (RFC 6761 §6.3). */
export function ownAddresses(host: string, families: readonly (4 | 6)[]): readonly string[] | undefined {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  if (isIP(bare) !== 0) return [canonicalAddress(bare)];
  if (!/(?:^|\.)localhost\.?$/i.test(host)) return undefined;
  return families.map((family) => (family === 4 ? '127.0.0.1' : '::1'));
}

/**
 * The host as it is looked up: in lower case; a trailing dot stays, since it says that no search is wanted.
 *
 * @throws {TypeError} naming what is wrong with it
 */
export function hostKey(host: string): string {
  const name = checkHost(host);
  return host.endsWith('.') ? `${name}.` : name;
}
