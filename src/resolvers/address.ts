import { isIPv6, SocketAddress } from 'node:net';

/**
 * One spelling per IP address: IPv6 as RFC 5952 writes it, IPv4 mapped into IPv6 as IPv4. A zone (`fe80::1%eth0`)
 * stays, since a link-local address cannot be dialled without.
 */
export function canonicalAddress(address: string): string {
  if (!isIPv6(address)) return address;
  const zone = /%.*/.exec(address)?.[0] ?? '';
  const canonical = new SocketAddress({ address, family: 'ipv6' }).address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(canonical);
  return mapped?.[1] ?? `${canonical}${zone}`;
}
