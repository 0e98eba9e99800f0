import type { SrvRecord } from 'node:dns';
import { addressOf, type Endpoint } from '../../core/endpoint.ts';

/**
 * The endpoints of SRV records (RFC 2782): those of the lowest priority whose targets have addresses, each at its
 * record's port, sorted. Where weights differ, a target's weight is shared out among its addresses, and records of
 * weight 0 have 1 among them, which is their chance in the RFC's algorithm; where they are all the same, no
 * endpoint has a weight, so that a weight like CoreDNS's (100 / number of targets) changes nothing as pods come
 * and go.
 */
export function srvEndpoints(
  records: readonly SrvRecord[],
  addressesOf: ReadonlyMap<string, readonly string[]>,
): readonly Endpoint[] {
  const live = records.filter(({ name }) => (addressesOf.get(name)?.length ?? 0) > 0);
  const lowest = live.reduce((least, { priority }) => Math.min(least, priority), Number.POSITIVE_INFINITY);
  const group = live.filter(({ priority }) => priority === lowest);
  const weighted = group.some(({ weight }) => weight !== group[0]?.weight);
  const zeros = group.filter(({ weight }) => weight === 0).length;

  const byId = new Map<string, Endpoint>();
  for (const { name, port, weight } of group) {
    const addresses = addressesOf.get(name) ?? [];
    const share = (weight === 0 ? 1 / zeros : weight) / addresses.length;
    for (const address of addresses) {
      const id = addressOf(address, port);
      const before = byId.get(id)?.weight ?? 0;
      byId.set(id, { id, address, port, ...(weighted && { weight: before + share }) });
    }
  }
  return [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Records that can be dialled: not port 0, nor the target `.`, which says that there is no such service. */
export function usableRecords(records: readonly SrvRecord[]): readonly SrvRecord[] {
  return records
    .map((record) => ({ ...record, name: record.name.toLowerCase().replace(/\.$/, '') }))
    .filter(({ name, port }) => name !== '' && port > 0);
}

/**
 * Whether one question for the Service's own name answers for all these targets, as with a Kubernetes Service:
 * `10-0-0-1.orders.shop.svc.cluster.local`, all at one port, none preferred.
 */
export function isOneService(records: readonly SrvRecord[], service: string): boolean {
  const [first] = records;
  return (
    first !== undefined &&
    /^[^.]+\.[^.]+\.svc\./.test(service) &&
    records.every(
      ({ name, port, priority, weight }) =>
        (name === service || name.endsWith(`.${service}`)) &&
        port === first.port &&
        priority === first.priority &&
        weight === first.weight,
    )
  );
}

/**
 * Whether all these addresses of a Service are its targets'; a pod without the port has an address too, but no record.
 * Pods are named by their address, or once for both families.
 */
export function isComplete(addresses: readonly string[], names: readonly string[], service: string): boolean {
  if (names[0] === service || addresses.length === names.length) return true;
  const sixes = addresses.filter((address) => address.includes(':')).length;
  if (addresses.length !== 2 * names.length || sixes !== names.length) return false;
  const byAddress = new Set(addresses.map((address) => `${address.replaceAll(/[.:]/g, '-')}.${service}`));
  return !names.some((name) => byAddress.has(name));
}
