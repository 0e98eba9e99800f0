import { type Cancel, type Clock, systemClock } from '../core/clock.ts';
import type { Endpoint } from '../core/endpoint.ts';
import {
  DiscoveryWarning,
  isDiscoveryWarning,
  isError,
  isResolveError,
  ResolveError,
} from '../core/errors.ts';
import { guardedWatch } from '../core/guarded-watch.ts';
import { implementing } from '../core/options.ts';
import type { Resolver, ResolverListener, SetInfo, Watch } from '../core/resolver.ts';
import { type Target, targetName } from '../core/target.ts';

/**
 * The first of these resolvers that has endpoints. A later one is watched, and serves, only while those before it
 * have failed without ever having had a set, have been silent for a second, or have an empty set; as soon as an
 * earlier one has endpoints the set is its own again. Between the two the old set stays. Where none has endpoints,
 * an empty set is the answer if any resolver gave it, and otherwise an error that tells each one's.
 *
 * Errors of a resolver that does not serve reach `onError` as `DiscoveryWarning` while another one serves.
 *
 * @throws {TypeError} for what is no resolver, or when there is none.
 */
export function fallback(...resolvers: readonly [Resolver, ...Resolver[]]): Resolver {
  return preferring(resolvers);
}

export interface PreferringOptions {
  /** Whether an empty set is an answer, so that no later resolver is asked. @default false */
  readonly emptyIsAnswer?: boolean;
  readonly clock?: Clock;
}

/** `fallback` with options, for resolvers that are made of others. */
export function preferring(
  resolvers: readonly [Resolver, ...Resolver[]],
  { emptyIsAnswer = false, clock = systemClock }: PreferringOptions = {},
): Resolver {
  if (resolvers.length === 0) throw new TypeError('fallback: at least one resolver is needed');
  for (const [i, resolver] of resolvers.entries())
    implementing('a Resolver', 'watch')(resolver, `resolvers[${i}] of fallback`);
  return {
    watch(target, listener) {
      const preference = new Preference(target, listener, resolvers, emptyIsAnswer, clock);
      preference.start();
      return preference;
    },
  };
}

/** ms of silence after which the next resolver is asked as well. */
const patience = 1_000;

/** One resolver, as far as it has been needed. */
interface Candidate {
  readonly resolver: Resolver;
  watch?: Watch | undefined;
  set?: { readonly endpoints: readonly Endpoint[]; readonly info: SetInfo | undefined } | undefined;
  error?: Error | undefined;
  /** Silent for too long to be waited for. */
  overdue?: boolean | undefined;
  cancelPatience?: Cancel | undefined;
}

class Preference implements Watch {
  readonly #target: Target;
  readonly #listener: ResolverListener;
  readonly #candidates: readonly Candidate[];
  readonly #emptyIsAnswer: boolean;
  readonly #clock: Clock;
  readonly #leaving = new Set<Promise<void>>();
  /** The set told last. */
  #told: Candidate['set'];
  #serving: Candidate | undefined;
  #started = false;
  #closed = false;

  constructor(
    target: Target,
    listener: ResolverListener,
    resolvers: readonly Resolver[],
    emptyIsAnswer: boolean,
    clock: Clock,
  ) {
    this.#target = target;
    this.#listener = listener;
    this.#candidates = resolvers.map((resolver) => ({ resolver }));
    this.#emptyIsAnswer = emptyIsAnswer;
    this.#clock = clock;
  }

  /** @throws what the first resolver threw, where each of them refuses the target */
  start(): void {
    this.#decide();
    this.#started = true;
    if (this.#candidates.every(({ watch }) => watch === undefined)) throw this.#candidates[0]?.error;
  }

  refresh(): void {
    for (const { watch } of this.#candidates) watch?.refresh();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const candidate of this.#candidates) this.#leave(candidate);
    await Promise.all(this.#leaving);
  }

  /** Finds who serves now, opening the next resolver only when none before it will do. */
  #decide(): void {
    if (this.#closed) return;
    for (const [i, candidate] of this.#candidates.entries()) {
      if (candidate.watch === undefined && candidate.error === undefined) this.#open(candidate);
      if (candidate.set !== undefined && (this.#emptyIsAnswer || candidate.set.endpoints.length > 0)) {
        for (const later of this.#candidates.slice(i + 1)) this.#leave(later);
        this.#serve(candidate);
        return;
      }
      const isSilent = candidate.set === undefined && candidate.error === undefined;
      if (isSilent && candidate.overdue !== true) return;
    }
    const empty = this.#candidates.find(({ set }) => set !== undefined);
    if (empty !== undefined) this.#serve(empty);
    else if (this.#started && this.#candidates.every(({ error }) => error !== undefined))
      this.#listener.onError(this.#combined());
  }

  #serve(candidate: Candidate): void {
    this.#serving = candidate;
    const { set } = candidate;
    if (set === undefined || set === this.#told) return;
    this.#told = set;
    this.#listener.onEndpoints(set.endpoints, set.info);
  }

  #open(candidate: Candidate): void {
    try {
      candidate.watch = guardedWatch(candidate.resolver, this.#target, {
        onEndpoints: (endpoints, info) => {
          candidate.cancelPatience?.();
          candidate.set = { endpoints, info };
          candidate.error = undefined;
          this.#decide();
        },
        onError: (error) => this.#failed(candidate, error),
      });
    } catch (error) {
      candidate.error = isError(error) ? error : new Error(String(error));
      return;
    }
    candidate.cancelPatience = this.#clock.schedule(patience, () => {
      candidate.overdue = true;
      this.#decide();
    });
  }

  #failed(candidate: Candidate, error: Error): void {
    if (candidate === this.#serving || isDiscoveryWarning(error)) {
      this.#listener.onError(error);
      return;
    }
    candidate.cancelPatience?.();
    candidate.error = error;
    if (this.#serving !== undefined)
      this.#listener.onError(new DiscoveryWarning(`${targetName(this.#target)}: ${error.message}`));
    this.#decide();
  }

  #leave(candidate: Candidate): void {
    candidate.cancelPatience?.();
    const { watch } = candidate;
    candidate.watch = candidate.set = candidate.error = candidate.overdue = undefined;
    if (watch === undefined) return;
    const left: Promise<void> = watch
      .close()
      .catch((error: Error) => {
        if (!this.#closed) this.#listener.onError(error);
      })
      .finally(() => this.#leaving.delete(left));
    this.#leaving.add(left);
  }

  #combined(): Error {
    const errors = this.#candidates.map(({ error }) => error as Error);
    const last = errors.at(-1) as Error;
    if (errors.length === 1) return last;
    const name = targetName(this.#target);
    const message = `cannot resolve ${name} in any of ${errors.length} ways: ${errors.map((e) => e.message).join('; ')}`;
    // What the last resort says decides whether waiting may help.
    if (isResolveError(last)) return new ResolveError(message, this.#target, { cause: last.cause ?? last });
    return new Error(message, { cause: last });
  }
}
