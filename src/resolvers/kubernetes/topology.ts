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
      const { conditions, nodeHints, zoneHints } = source;
      const here = node !== undefined && source.node === node;
      if (conditions.ready) {
        this.ready.push(endpoint);
        if (here) this.readyHere.push(endpoint);
        if (nodeHints === undefined) this.nodeless++;
        else if (names(nodeHints, node)) this.forNode.push(endpoint);
        if (zoneHints === undefined) this.zoneless++;
        else if (names(zoneHints, zone)) this.forZone.push(endpoint);
      } else if (conditions.serving && conditions.terminating) {
        this.leaving.push(endpoint);
        if (here) this.leavingHere.push(endpoint);
      }
    }
  }
}

function names(hints: string, place: string | undefined): boolean {
  return place !== undefined && (hints === place || hints.split(',').includes(place));
}

/** Which list of every tally is chosen. */
export type Choice = 'ready' | 'leaving' | 'readyHere' | 'leavingHere' | 'forNode' | 'forZone';

/**
 * What kube-proxy would choose: the ready ones, or where there is none those that terminate and still serve. Hints
 * count only if every ready endpoint has one and some are for us; nodes come before zones.
 * https://github.com/kubernetes/kubernetes/blob/v1.36.2/pkg/proxy/topology.go
 */
export function choose(tallies: readonly Tally[], local: boolean, hints: boolean): Choice {
  const any = (choice: Choice): boolean => tallies.some((tally) => tally[choice].length > 0);
  if (local) return any('readyHere') ? 'readyHere' : 'leavingHere';
  if (!any('ready')) return 'leaving';
  if (hints && any('forNode') && tallies.every(({ nodeless }) => nodeless === 0)) return 'forNode';
  if (hints && any('forZone') && tallies.every(({ zoneless }) => zoneless === 0)) return 'forZone';
  return 'ready';
}
