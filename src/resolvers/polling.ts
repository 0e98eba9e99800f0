import { type Clock, type Random, systemClock, systemRandom } from '../core/clock.ts';
import { type Endpoint, sameEndpoints } from '../core/endpoint.ts';
import { isError } from '../core/errors.ts';
import { checkOptions, duration, func, implementing } from '../core/options.ts';
import type { Resolver } from '../core/resolver.ts';
import { type Target, targetName } from '../core/target.ts';
import { undisturbed } from '../core/undisturbed.ts';
import { type EndpointEntry, parseEntries, toEndpoints } from './entries.ts';
import { backoff, rounds } from './rounds.ts';

/** What a lookup found. */
export interface Lookup {
  /** The complete set; empty means that there are no endpoints. */
  readonly endpoints: readonly (string | EndpointEntry)[];
  /** ms until the next lookup, ±10 %; at least 100. @default 30_000 */
  readonly ttl?: number;
}

export interface PollingOptions {
  /** ms a lookup may take: then its signal aborts and it counts as failed. @default 10_000 */
  readonly timeout?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** A source that says 0 does not mean a busy loop. */
const leastTtl = 100;

/**
 * Asks a function of yours again and again: `lookup(target, signal)` resolves to the complete set and how long it
 * holds. A lookup that throws, takes too long or returns nonsense goes to `onError`; the last set stays, and the
 * next try follows with full jitter within 1 s, then 2 s, up to 30 s (100 ms to 5 s while there was no set yet).
 *
 * @throws {TypeError | RangeError} for options that are wrong.
 */
export function polling(
  lookup: (target: Target, signal: AbortSignal) => Promise<Lookup> | Lookup,
  options: PollingOptions = {},
): Resolver {
  func(lookup, 'lookup of polling');
  checkOptions(
    'polling',
    { timeout: duration, clock: implementing('a Clock', 'now', 'schedule'), random: func },
    options,
  );
  const { timeout = 10_000, clock = systemClock, random = systemRandom } = options;
  return {
    watch(target, listener) {
      let known: readonly Endpoint[] | undefined;
      let failures = 0;
      return rounds(
        async (closing) => {
          let found: Found;
          try {
            const answer = await within(timeout, clock, closing, (signal) => lookup(target, signal));
            found = checkLookup(answer, target);
          } catch (cause) {
            if (closing.aborted) return 0;
            failures++;
            const reason = isError(cause) ? cause.message : String(cause);
            const error = new Error(`lookup of ${targetName(target)} failed: ${reason}`, { cause });
            undisturbed(() => listener.onError(error));
            return known === undefined
              ? backoff(failures, 100, 5_000, random)
              : backoff(failures, 1_000, 30_000, random);
          }
          if (closing.aborted) return 0;
          const { endpoints, ttl } = found;
          const isNews = failures > 0 || known === undefined || !sameEndpoints(known, endpoints);
          failures = 0;
          known = endpoints;
          if (isNews) undisturbed(() => listener.onEndpoints(endpoints, { source: 'polling', ttl }));
          return ttl * (0.9 + 0.2 * random());
        },
        { clock, random },
      );
    },
  };
}

interface Found {
  readonly endpoints: readonly Endpoint[];
  readonly ttl: number;
}

function checkLookup(found: Lookup, target: Target): Found {
  if (typeof found !== 'object' || found === null)
    throw new TypeError(`it returned ${String(found)} where { endpoints, ttl? } is needed`);
  const { endpoints, ttl = 30_000 } = found;
  if (typeof ttl !== 'number' || !(ttl >= 0))
    throw new RangeError(`its ttl must be a number of ms, got ${String(ttl)}`);
  return {
    endpoints: toEndpoints(parseEntries(endpoints, 'endpoints'), target),
    ttl: Math.max(leastTtl, ttl),
  };
}

/** Runs `work` until it settles, `ms` have passed, or `closing` aborts; its signal follows. */
function within<T>(
  ms: number,
  clock: Clock,
  closing: AbortSignal,
  work: (signal: AbortSignal) => Promise<T> | T,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const stop = new AbortController();
    const onClose = (): void => stop.abort(closing.reason);
    const cancel =
      ms === Number.POSITIVE_INFINITY
        ? (): void => {}
        : clock.schedule(ms, () => stop.abort(new Error(`no answer within ${ms} ms`)));
    const end = (): void => {
      cancel();
      closing.removeEventListener('abort', onClose);
    };
    closing.addEventListener('abort', onClose, { once: true });
    stop.signal.addEventListener(
      'abort',
      () => {
        end();
        reject(stop.signal.reason);
      },
      { once: true },
    );
    // An async function, so that a lookup that throws rejects.
    (async () => work(stop.signal))().finally(end).then(resolve, reject);
  });
}
