import type { Backend, Backends } from './backend.ts';
import type { Release } from './outcome.ts';

/** What a pick may depend on. */
export interface PickRequest {
  /** Calls with equal keys go to the same backend, for balancers that hash. */
  readonly hashKey?: string;
  /** Backends that earlier attempts of this call have used. */
  readonly tried?: ReadonlySet<Backend>;
}

/** Chooses the backend of one attempt. */
export interface Balancer {
  /**
   * Synchronous, no I/O, never throws, never returns a backend outside `backends`. The array is immutable: the
   * same array is the same set, so it may key a cache. Prefers backends not in `request.tried`.
   */
  pick(backends: Backends, request: PickRequest): Backend;
  /**
   * Optional: sees each use of a backend begin; the returned release sees it end. For balancers that learn or
   * index by load. `backend.inflight` counts the use already when it begins, and no more when it ends.
   */
  begin?(backend: Backend): Release;
}

/** What a backend costs now; smaller is better. */
export type Load = (backend: Backend) => number;
