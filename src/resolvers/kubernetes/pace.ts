import type { Clock } from '../../core/clock.ts';

/**
 * Requests that may follow one another at once: for slices and the Service, a streaming list, a list, a watch; and
 * should the server go away right then, a list and a watch once more.
 */
const burst = 10;
/** ms between requests when they keep coming: under one a second, whatever goes wrong. */
const spacing = 1_250;

/** A token bucket over the requests of one watch. */
export class Pace {
  readonly #clock: Clock;
  #tokens = burst;
  #filled: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#filled = clock.now();
  }

  /** Takes a place and returns the ms to wait for it. */
  take(): number {
    const now = this.#clock.now();
    this.#tokens = Math.min(burst, this.#tokens + (now - this.#filled) / spacing);
    this.#filled = now;
    this.#tokens--;
    return this.#tokens >= 0 ? 0 : -this.#tokens * spacing;
  }
}
