import { BlockList, isIP, isIPv4 } from 'node:net';

/** Which addresses of an answer may be dialled. */
export type AddressPolicy = (address: string) => boolean;

/**
 * Whether an answer's address can be that of an endpoint: not unspecified, loopback, link-local (with the cloud's
 * metadata service at 169.254.169.254), multicast or broadcast. In an answer they are a mistake, or somebody's attempt
 * to have this process talk to itself; Kubernetes refuses most of them in Endpoints as well. 240.0.0.0/4 is reserved,
 * but there are clusters whose pods have these addresses.
 * https://cloud.google.com/blog/products/containers-kubernetes/how-class-e-addresses-solve-for-ip-address-exhaustion-in-gke
 */
export function isDiallable(address: string, allowLoopback: boolean): boolean {
  if (isIPv4(address)) {
    const [first, second] = address.split('.', 2).map(Number) as [number, number];
    if (first === 127) return allowLoopback;
    const isMulticast = first >= 224 && first < 240;
    return first !== 0 && !isMulticast && !(first === 169 && second === 254) && address !== '255.255.255.255';
  }
  // Canonical spelling: the shortest, in lower case.
  if (address === '::1') return allowLoopback;
  if (address === '::') return false;
  return !/^(?:fe[89ab][0-9a-f]|ff[0-9a-f]{2}):/.test(address);
}

/**
 * With `allow`, exactly the addresses inside these CIDR blocks, whatever their kind; otherwise those that are
 * diallable.
 *
 * @throws {TypeError} naming the block that is none
 */
export function addressPolicy(
  factory: string,
  allow: readonly string[] | undefined,
  allowLoopback: boolean,
): AddressPolicy {
  if (allow === undefined) return (address) => isDiallable(address, allowLoopback);
  const list = new BlockList();
  for (const [i, block] of allow.entries()) {
    const [, net = '', bits = ''] = /^([0-9a-fA-F:.]{2,45})\/(\d{1,3})$/.exec(block) ?? [];
    const version = isIP(net);
    if (version === 0 || Number(bits) > (version === 4 ? 32 : 128)) {
      throw new TypeError(
        `${factory}: option allow[${i}] must be a CIDR block such as 10.0.0.0/8, got ${JSON.stringify(block.slice(0, 80))}`,
      );
    }
    list.addSubnet(net, Number(bits), version === 4 ? 'ipv4' : 'ipv6');
  }
  return (address) => list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}
