import type { Clock, Random } from '../../core/clock.ts';
import type { Watch } from '../../core/resolver.ts';
import { backoff, rounds } from '../rounds.ts';
import { refreshDelay, type TtlBounds } from './ttl.ts';

/** What one round of questions came to. `none`: a server says that nothing is there; `failed`: nobody knows. */
export type Finding<T> =
  | { readonly kind: 'found'; readonly items: readonly T[]; readonly ttl: number }
  | { readonly kind: 'none'; readonly exists: boolean; readonly error: Error }
  | { readonly kind: 'failed'; readonly error: Error };

export interface Report<T> {
  /** `note`: why there are none. */
  items(items: readonly T[], ttl: number, note?: string): void;
  error(error: Error): void;
}

export interface LastGoodOptions<T> extends TtlBounds {
  /** ms a set outlives the last answer that confirmed it. */
  readonly maxStale: number;
  readonly clock: Clock;
  readonly random: Random;
  same(a: readonly T[], b: readonly T[]): boolean;
  /** The error that goes with dropping a set after `maxStale`. */
  expired(cause: Error): Error;
}

/** ms until a "nothing there" is asked again before it is believed. */
const confirmAfter = 1_000;

/** ms between questions while nothing is there (±10 %), or while a set is stale (±20 %): the least TTL that CoreDNS caches for. */
const retryAfter = 5_000;

/**
 * Keeps the last good set through failures: items are replaced by what is found, dropped when nothing is there
 * twice in a row, and kept through failures for `maxStale`. The same items are reported once, and again after an
 * error. A name that never existed is an error at every round, not an empty set.
 */
export function lastGood<T>(
  find: (signal: AbortSignal, hinted: boolean) => Promise<Finding<T>>,
  report: Report<T>,
  { clock, random, maxStale, same, expired, ...bounds }: LastGoodOptions<T>,
): Watch {
  const retry = Math.min(retryAfter, bounds.maxTtl);
  let known: readonly T[] | undefined;
  let confirmed = 0;
  let failures = 0;
  let doubted = false;
  let current = false;

  const tell = (items: readonly T[], ttl: number, note?: string): void => {
    if (current && known !== undefined && same(known, items)) return;
    known = items;
    current = true;
    report.items(items, ttl, note);
  };
  const complain = (error: Error): void => {
    current = false;
    report.error(error);
  };

  const round = async (signal: AbortSignal, hinted: boolean): Promise<number> => {
    const finding = await find(signal, hinted);
    if (signal.aborted) return 0;
    const wasDoubted = doubted;
    doubted = false;

    if (finding.kind === 'found') {
      failures = 0;
      confirmed = clock.now();
      const delay = refreshDelay(finding.ttl, bounds, random);
      tell(finding.items, delay);
      return delay;
    }

    if (finding.kind === 'none') {
      failures = 0;
      if (known !== undefined && known.length > 0 && !wasDoubted) {
        doubted = true;
        return Math.min(confirmAfter, bounds.maxTtl);
      }
      const delay = retry * (0.9 + 0.2 * random());
      if (known !== undefined || finding.exists) tell([], delay, finding.error.message);
      else complain(finding.error);
      return delay;
    }

    failures++;
    complain(finding.error);
    if (known === undefined) return backoff(failures, Math.min(100, retry), retry, random);
    const left = confirmed + maxStale - clock.now();
    if (known.length > 0 && left <= 0) {
      complain(expired(finding.error));
      tell([], retry);
    }
    const delay = retry * (0.8 + 0.4 * random());
    return known.length > 0 ? Math.min(delay, left) : delay;
  };

  return rounds(round, { clock, random });
}
