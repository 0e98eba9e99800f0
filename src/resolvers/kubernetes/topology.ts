import type { Endpoint } from '../../core/endpoint.ts';
import type { SliceEndpoint } from './slice.ts';

/** Where this process runs, as far as hints and local traffic go. */
export interface Location {
  readonly zone: string | undefined;
  readonly node: string | undefined;
  /** Whether the control plane's hints are followed. */
  readonly hints: boolean;
}

interface Candidate {
  readonly source: SliceEndpoint;
  readonly endpoint: Endpoint;
  readonly out: boolean;
}

/** The endpoints of one slice, sorted into what `choose` may want. */
export class Tally {
  readonly ready: Endpoint[] = [];
  /** Not ready, yet serving while they terminate. */
  readonly leaving: Endpoint[] = [];
  readonly readyHere: Endpoint[] = [];
  readonly leavingHere: Endpoint[] = [];
  readonly forNode: Endpoint[] = [];
  readonly forZone: Endpoint[] = [];
  /** Ready ones without a hint of that sort. */
  nodeless = 0;
  zoneless = 0;

  constructor(candidates: readonly Candidate[], { zone, node }: Location) {
    for (const { source, endpoint, out } of candidates) {
      if (out) continue;
      const here = node !== undefined && source.node === node;
      if (source.ready) {
        this.ready.push(endpoint);
        if (here) this.readyHere.push(endpoint);
        if (source.nodeHints === undefined) this.nodeless++;
        else if (node !== undefined && source.nodeHints.includes(node)) this.forNode.push(endpoint);
        if (source.zoneHints === undefined) this.zoneless++;
        else if (zone !== undefined && source.zoneHints.includes(zone)) this.forZone.push(endpoint);
      } else if (source.serving && source.terminating) {
        this.leaving.push(endpoint);
        if (here) this.leavingHere.push(endpoint);
      }
    }
  }
}

/**
 * The endpoints that kube-proxy would choose: the ready ones, or where there is none those that terminate and still
 * serve. Hints count only if every ready endpoint has one and some are for us; nodes come before zones.
 * https://github.com/kubernetes/kubernetes/blob/v1.36.2/pkg/proxy/topology.go
 */
export function choose(tallies: readonly Tally[], local: boolean, hints: boolean): Endpoint[] {
  if (local) {
    const here = joined(tallies, 'readyHere');
    return here.length > 0 ? here : joined(tallies, 'leavingHere');
  }
  if (tallies.every(({ ready }) => ready.length === 0)) return joined(tallies, 'leaving');
  if (hints && tallies.every(({ nodeless }) => nodeless === 0)) {
    const chosen = joined(tallies, 'forNode');
    if (chosen.length > 0) return chosen;
  }
  if (hints && tallies.every(({ zoneless }) => zoneless === 0)) {
    const chosen = joined(tallies, 'forZone');
    if (chosen.length > 0) return chosen;
  }
  return joined(tallies, 'ready');
}

type List = 'ready' | 'leaving' | 'readyHere' | 'leavingHere' | 'forNode' | 'forZone';

function joined(tallies: readonly Tally[], list: List): Endpoint[] {
  const result: Endpoint[] = [];
  for (const tally of tallies) for (const endpoint of tally[list]) result.push(endpoint);
  return result;
}
