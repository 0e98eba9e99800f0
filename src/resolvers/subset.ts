import { hostname } from 'node:os';
import type { Endpoint } from '../core/endpoint.ts';
import { guardedWatch } from '../core/guarded-watch.ts';
import { hash32 } from '../core/hash.ts';
import { checkOptions, implementing, integer, string } from '../core/options.ts';
import type { Resolver } from '../core/resolver.ts';

export interface SubsetOptions {
  /** How many endpoints this client uses, 1 or more; all of them where there are no more. */
  readonly size: number;
  /** What tells this client from the others. @default the host's name, which in a pod is the pod's */
  readonly key?: string;
}

/**
 * A part of what another resolver finds, for fleets in which every client cannot hold connections to every endpoint.
 * Each client chooses by rendezvous hashing of its key with each endpoint's id (Thaler, Ravishankar, 1998; gRPC's
 * `random_subsetting` does the same). When an endpoint comes or goes, only the clients that gain or lose it change one
 * connection.
 *
 * Endpoints get clients evenly but for chance: their number is binomial. No choice that knows nothing of the other
 * clients can be more even; those that are (deterministic subsetting, Beyer et al., "Site reliability engineering",
 * 2016, ch. 20; bounded loads) need numbered clients, or all their keys. With 1,000 clients of 5,000 pods and a size of
 * 100, a pod has 20 connections, 5 at least and 38 at most; with a size of 20, 2 % of the pods have none: so let
 * `size × clients / endpoints` be 20 or more.
 *
 * @throws {TypeError | RangeError} for options that are wrong.
 */
export function subset(resolver: Resolver, options: SubsetOptions): Resolver {
  implementing('a Resolver', 'watch')(resolver, 'resolver of subset');
  checkOptions('subset', { size: integer(1), key: string }, options);
  const { size, key = hostname() } = options;
  if (size === undefined) throw new TypeError('subset: option size is missing');
  return {
    watch: (target, listener) =>
      guardedWatch(resolver, target, {
        onEndpoints: (endpoints, info) => listener.onEndpoints(choose(endpoints, size, key), info),
        onError: (error) => listener.onError(error),
      }),
  };
}

/** The `size` endpoints of a client, in the order they came. */
export function choose(endpoints: readonly Endpoint[], size: number, key: string): readonly Endpoint[] {
  if (endpoints.length <= size) return endpoints;
  const seed = hash32(key);
  const scored = endpoints.map((endpoint) => ({ endpoint, score: hash32(endpoint.id, seed) }));
  scored.sort((a, b) => b.score - a.score || (a.endpoint.id < b.endpoint.id ? -1 : 1));
  const chosen = new Set(scored.slice(0, size).map(({ endpoint }) => endpoint));
  return endpoints.filter((endpoint) => chosen.has(endpoint));
}
