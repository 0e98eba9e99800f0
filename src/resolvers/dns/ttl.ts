import type { Random } from '../../core/clock.ts';

export interface TtlBounds {
  /** ms */
  readonly minTtl: number;
  /** ms */
  readonly maxTtl: number;
}

/** What a record's TTL (seconds) says, in ms: at or above 2³¹ it counts as 0 (RFC 2181 §8). */
export function ttlMs(seconds: number): number {
  return seconds >= 0 && seconds < 2 ** 31 ? seconds * 1_000 : 0;
}

/**
 * ms until the next question: the TTL within its bounds, and up to a tenth more, so that clients who were told the
 * same remaining TTL by the same cache do not come back together, nor before it has expired.
 */
export function refreshDelay(ttl: number, { minTtl, maxTtl }: TtlBounds, random: Random): number {
  return Math.min(Math.max(ttl, minTtl), maxTtl) * (1 + 0.1 * random());
}
