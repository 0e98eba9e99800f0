/** One resolved address. Immutable; equal `id` means the same endpoint (pod uid when known, so a re-used IP starts clean). */
export interface Endpoint {
  readonly id: string;
  /** An IP address: IPv4, or IPv6 without brackets. */
  readonly address: string;
  readonly port: number;
  /** Relative share of the calls; 1 when absent, negative, infinite or no number. 0: calls only while no other has any. */
  readonly weight?: number;
  readonly zone?: string;
  readonly node?: string;
  /** A name for people: the pod's, when known. */
  readonly name?: string;
}

/** `address:port`, with IPv6 in brackets: the identity of an endpoint that has no better one. */
export function addressOf(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Whether two endpoints say the same in every field. */
export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return (
    a.id === b.id &&
    a.address === b.address &&
    a.port === b.port &&
    a.weight === b.weight &&
    a.zone === b.zone &&
    a.node === b.node &&
    a.name === b.name
  );
}

/** Whether two full sets hold the same endpoints, whatever the order. */
export function sameEndpoints(a: readonly Endpoint[], b: readonly Endpoint[]): boolean {
  if (a.length !== b.length) return false;
  if (a.every((endpoint, i) => sameEndpoint(endpoint, b[i] as Endpoint))) return true;
  const byId = new Map(a.map((endpoint) => [endpoint.id, endpoint]));
  if (byId.size !== b.length) return false;
  return b.every((endpoint) => {
    const other = byId.get(endpoint.id);
    return other !== undefined && sameEndpoint(other, endpoint);
  });
}

/** Of several endpoints with one id the first. */
export function distinct(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const ids = new Set<string>();
  return endpoints.filter(({ id }) => !ids.has(id) && ids.add(id));
}
