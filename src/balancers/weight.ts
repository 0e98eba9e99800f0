import type { Backend } from '../core/backend.ts';

/** Larger weights count as this much, and smaller ones than its inverse as none, so that sums stay finite. */
const heaviest = 2 ** 32;

/** A backend's weight: 1 where none is told, or one that is negative, infinite or no number. */
export function weightOf(backend: Backend): number {
  const { weight } = backend.endpoint;
  if (weight === undefined || !(weight >= 0 && weight < Number.POSITIVE_INFINITY)) return 1;
  return weight < 1 / heaviest ? 0 : Math.min(weight, heaviest);
}
