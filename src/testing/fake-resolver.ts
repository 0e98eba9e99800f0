import type { Endpoint } from '../core/endpoint.ts';
import { arrayOf, object } from '../core/options.ts';
import type { Resolver, ResolverListener, Watch } from '../core/resolver.ts';
import type { Target } from '../core/target.ts';
import { endpoint } from './values.ts';

/** A resolver whose set the test says; it tells every target the same. */
export class FakeResolver implements Resolver {
  readonly #targets: Target[] = [];
  readonly #listeners = new Set<ResolverListener>();
  #endpoints: readonly Endpoint[] | undefined;
  #error: Error | undefined;
  #watches = 0;
  #refreshes = 0;

  /** Without an initial set, watches are told nothing until the first `set` or `fail`. */
  constructor(initial?: readonly (Endpoint | string)[]) {
    this.#endpoints = initial && toEndpoints(initial);
  }

  /** Watches that are open now: 0 when whatever was tested has been cleaned up. */
  get watches(): number {
    return this.#watches;
  }

  /** How often any watch was asked to refresh. */
  get refreshes(): number {
    return this.#refreshes;
  }

  /** The target of each watch ever opened, in order. */
  get targets(): readonly Target[] {
    return this.#targets;
  }

  /** Reports a new set, of endpoints or `'host:port'` strings, before it returns. */
  set(endpoints: readonly (Endpoint | string)[]): void {
    const set = toEndpoints(endpoints);
    this.#endpoints = set;
    this.#error = undefined;
    for (const listener of this.#listeners) listener.onEndpoints(set, { source: 'fake' });
  }

  /** Reports an error before it returns; the set stays what it was. */
  fail(error: Error | string = 'the fake resolver fails'): void {
    const failure = typeof error === 'string' ? new Error(error) : error;
    this.#error = failure;
    for (const listener of this.#listeners) listener.onError(failure);
  }

  /** A new watch is told the current set, and the error since, once this has returned. */
  watch(target: Target, listener: ResolverListener): Watch {
    this.#targets.push(target);
    this.#watches++;
    let open = true;
    // An object of its own, so that one listener may watch twice.
    const own: ResolverListener = {
      onEndpoints: (endpoints, info) => listener.onEndpoints(endpoints, info),
      onError: (error) => listener.onError(error),
    };
    queueMicrotask(() => {
      if (!open) return;
      this.#listeners.add(own);
      if (this.#endpoints !== undefined) own.onEndpoints(this.#endpoints, { source: 'fake' });
      if (open && this.#error !== undefined) own.onError(this.#error);
    });
    return {
      refresh: () => {
        if (open) this.#refreshes++;
      },
      close: async () => {
        if (!open) return;
        open = false;
        this.#watches--;
        this.#listeners.delete(own);
      },
    };
  }
}

const checkList = arrayOf((value, name) => {
  if (typeof value !== 'string') object(value, name);
});

function toEndpoints(list: readonly (Endpoint | string)[]): readonly Endpoint[] {
  checkList(list, 'endpoints of FakeResolver');
  return list.map((from) => (typeof from === 'string' ? endpoint(from) : from));
}
