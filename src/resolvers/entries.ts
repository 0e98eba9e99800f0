import { isIP } from 'node:net';
import { addressOf, type Endpoint } from '../core/endpoint.ts';
import { integer, number, shape, string } from '../core/options.ts';
import { checkPort, legible, type Target } from '../core/target.ts';
import { canonicalAddress } from './address.ts';
import { dialledPort } from './port.ts';

/** An endpoint as people write it. Where absent, `port` is the target's and `id` is `address:port`. */
export interface EndpointEntry {
  /** An IP address, not a host name. */
  readonly address: string;
  readonly port?: number | undefined;
  readonly weight?: number | undefined;
  readonly zone?: string | undefined;
  readonly node?: string | undefined;
  readonly name?: string | undefined;
  readonly id?: string | undefined;
}

const checkEntry = shape({
  id: string,
  address: string,
  port: integer(1, 65_535),
  weight: number(0),
  zone: string,
  node: string,
  name: string,
});

/**
 * Checks `'10.0.0.1:8080'`, `'10.0.0.1'`, `'[fd00::1]:8080'`, `'fd00::1'` and objects; errors name the entry by
 * its place in `where`.
 */
export function parseEntries(entries: unknown, where: string): readonly EndpointEntry[] {
  if (!Array.isArray(entries)) throw new TypeError(`${where} must be an array of endpoints`);
  return entries.map((entry: unknown, i) => {
    if (typeof entry === 'string') return parseText(entry, `${where}[${i}]`);
    checkEntry(entry, `${where}[${i}]`);
    const given = entry as EndpointEntry;
    return { ...given, address: checkAddress(given.address, `${where}[${i}].address`) };
  });
}

/** The endpoints that entries are for one target; the same id twice counts once. */
export function toEndpoints(entries: readonly EndpointEntry[], target: Target): readonly Endpoint[] {
  const byId = new Map<string, Endpoint>();
  for (const { address, port = dialledPort(target, `${address} has no port and`), ...rest } of entries) {
    const endpoint: Record<string, unknown> = { id: addressOf(address, port), address, port };
    for (const [key, value] of Object.entries(rest)) if (value !== undefined) endpoint[key] = value;
    byId.set(endpoint['id'] as string, endpoint as unknown as Endpoint);
  }
  return [...byId.values()];
}

function parseText(text: string, where: string): EndpointEntry {
  const bracketed = /^\[([^\]]*)\](?::([^:]*))?$/.exec(text);
  if (bracketed !== null) return parsed(bracketed[1] as string, bracketed[2], where);
  const colon = text.indexOf(':');
  // More than one colon without brackets is IPv6 without a port.
  if (colon === -1 || text.includes(':', colon + 1)) return parsed(text, undefined, where);
  return parsed(text.slice(0, colon), text.slice(colon + 1), where);
}

function parsed(host: string, port: string | undefined, where: string): EndpointEntry {
  const address = checkAddress(host, where);
  if (port === undefined) return { address };
  return { address, port: checkPort(/^\d{1,9}$/.test(port) ? Number(port) : Number.NaN, `port of ${where}`) };
}

function checkAddress(address: unknown, where: string): string {
  if (typeof address === 'string' && isIP(address) !== 0) return canonicalAddress(address);
  const shown = typeof address === 'string' ? legible(address) : String(address);
  throw new TypeError(`${where} is ${shown}, which is not an IP address: host names are for dns()`);
}
