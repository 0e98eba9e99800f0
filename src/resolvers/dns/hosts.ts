import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { canonicalAddress } from '../address.ts';

/** The addresses of these families that a hosts file gives a name; none when the file cannot be read. */
export function hostsAddresses(path: string, host: string, families: readonly (4 | 6)[]): readonly string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return [];
  }
  return parseHosts(text, host).filter((address) => families.includes(isIP(address) as 4 | 6));
}

function parseHosts(text: string, host: string): readonly string[] {
  const name = host.replace(/\.$/, '');
  const addresses: string[] = [];
  for (const line of text.split('\n')) {
    const [address, ...names] = line.replace(/#.*/, '').trim().toLowerCase().split(/\s+/);
    if (address !== undefined && isIP(address) !== 0 && names.includes(name))
      addresses.push(canonicalAddress(address));
  }
  return [...new Set(addresses)];
}
