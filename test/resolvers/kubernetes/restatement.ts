import { isIPv6 } from 'node:net';
import type { SliceObject } from '../../../src/resolvers/kubernetes/slice.ts';

/** The rules of choosing endpoints, written down once more as plainly as possible: no state, no haste. */
export interface Situation {
  readonly slices: ReadonlyMap<string, SliceObject>;
  /** The wanted port's name. */
  readonly port: string;
  readonly family: 4 | 6 | 'both';
  readonly preferred: 4 | 6;
  readonly zone: string | undefined;
  readonly node: string | undefined;
  readonly hints: boolean;
  readonly local: boolean;
}

interface Claim {
  readonly slice: string;
  readonly family: 4 | 6;
  readonly at: string;
  readonly uid: string | undefined;
  readonly node: string | undefined;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly zones: readonly string[];
  readonly nodes: readonly string[];
}

/** `uid/address:port`, sorted. */
export function restated(situation: Situation): string[] {
  const claims = [...situation.slices].flatMap(([name, slice]) => claimsOf(name, slice, situation));
  const counting = claims.filter(
    (claim) => !claims.some((rival) => excludes(rival, claim, situation.preferred)),
  );
  const chosen = chooseFrom(counting, situation);
  return chosen.map(({ uid, at }) => (uid === undefined ? at : `${uid}/${at}`)).sort();
}

function claimsOf(name: string, slice: SliceObject, { family, port }: Situation): Claim[] {
  if (slice.addressType === 'FQDN') return [];
  const own = slice.addressType === 'IPv6' ? 6 : 4;
  if (family !== 'both' && family !== own) return [];
  const number = slice.ports?.find(
    (entry) => (entry?.name ?? '') === port && (entry?.protocol ?? 'TCP') === 'TCP',
  )?.port;
  if (!number) return [];
  return (slice.endpoints ?? []).flatMap((endpoint) => {
    const address = endpoint?.addresses?.[0];
    if (!address || isIPv6(address) !== (own === 6)) return [];
    return [
      {
        slice: name,
        family: own,
        at: own === 6 ? `[${address}]:${number}` : `${address}:${number}`,
        uid: endpoint.targetRef?.uid ?? undefined,
        node: endpoint.nodeName ?? undefined,
        ready: endpoint.conditions?.ready ?? true,
        serving: endpoint.conditions?.serving ?? true,
        terminating: endpoint.conditions?.terminating ?? false,
        zones: (endpoint.hints?.forZones ?? []).map((hint) => hint.name ?? ''),
        nodes: (endpoint.hints?.forNodes ?? []).map((hint) => hint.name ?? ''),
      },
    ];
  });
}

/** Whether a claim loses against a rival for the same address, or for the other address of the same pod. */
function excludes(rival: Claim, claim: Claim, preferred: 4 | 6): boolean {
  if (rival === claim) return false;
  const meet =
    rival.at === claim.at ||
    (rival.uid !== undefined && rival.uid === claim.uid && rival.family !== claim.family);
  if (!meet) return false;
  const rank = ({ terminating, ready, serving, family, slice, uid }: Claim): string =>
    `${[terminating, !ready, !serving, family !== preferred].map(Number).join('')} ${slice} ${uid ?? ''}`;
  return rank(rival) < rank(claim);
}

function chooseFrom(claims: readonly Claim[], { local, hints, zone, node }: Situation): readonly Claim[] {
  const leaving = (some: readonly Claim[]): readonly Claim[] => {
    const ready = some.filter((claim) => claim.ready);
    return ready.length > 0 ? ready : some.filter((claim) => claim.serving && claim.terminating);
  };
  if (local) return leaving(claims.filter((claim) => claim.node === node));
  const ready = claims.filter((claim) => claim.ready);
  if (hints && ready.length > 0) {
    const forNode = ready.filter(({ nodes }) => node !== undefined && nodes.includes(node));
    if (forNode.length > 0 && ready.every(({ nodes }) => nodes.length > 0)) return forNode;
    const forZone = ready.filter(({ zones }) => zone !== undefined && zones.includes(zone));
    if (forZone.length > 0 && ready.every(({ zones }) => zones.length > 0)) return forZone;
  }
  return leaving(claims);
}
