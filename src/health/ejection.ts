/** How many of `known` endpoints may be ejected at a time: half of them, at least one, never the last. */
export function maxEjected(known: number): number {
  return known <= 1 ? 0 : Math.max(1, Math.floor(known / 2));
}

/**
 * Whether so few endpoints are eligible that health is ignored: when most look broken, it is more likely that
 * something else is, and the rest could not carry the load.
 */
export function inPanic(eligible: number, known: number, threshold: number): boolean {
  return known > 0 && eligible / known < threshold;
}
