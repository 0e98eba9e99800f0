import type { Endpoint } from './endpoint.ts';
import type { Target } from './target.ts';

/** Turns a target into a changing set of endpoints. */
export interface Resolver {
  /**
   * Starts watching and reports until closed. Errors never end a watch and never empty a set: the caller keeps
   * the last good one. Nothing is reported before `watch` returns, nor after `close` is called.
   */
  watch(target: Target, listener: ResolverListener): Watch;
}

export interface ResolverListener {
  /**
   * The complete current set. Empty means: the name exists (or is known not to) and has no endpoints.
   * The same set again after an error says that it is current once more.
   */
  onEndpoints(endpoints: readonly Endpoint[], info?: SetInfo): void;
  /**
   * What went wrong in the background; with a `DiscoveryWarning`, what is odd though the set is current. A
   * `ResolveError` before the first set says that waiting will not help, e.g. because the name does not exist:
   * whoever waits for the set is told at once.
   */
  onError(error: Error): void;
}

/** Where a set comes from, for people: shown by `snapshot()` and the command line. */
export interface SetInfo {
  /** e.g. `kubernetes`, `dns`, `fixed`. */
  readonly source: string;
  /** ms until the source is asked again. */
  readonly ttl?: number;
  readonly resourceVersion?: string;
  /** Why an empty set is empty, where more is known than that it is. */
  readonly note?: string;
}

/** A running watch. */
export interface Watch {
  /** A hint, e.g. after connect failures; may be ignored. */
  refresh(): void;
  /** Stops: nothing is reported any more. Resolves when every socket and timer is gone; may be called again. */
  close(): Promise<void>;
}
