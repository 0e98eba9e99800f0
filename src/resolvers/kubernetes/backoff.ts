import type { Random } from '../../core/clock.ts';
import type { WatchError } from './errors.ts';

/** ms: client-go's first and longest delay. */
const delays = [800, 30_000] as const;
/** ms within which the first repeat comes, to spread a fleet. */
const promptly = 50;
/** ms between tries while a rule is missing from our role; spread over as much again. */
const defaultForbiddenDelay = 30_000;
/** How long to wait before the next try: hardly at first, then full jitter below a limit that doubles. */
export class Backoff {
  readonly #random: Random;
  readonly #forbiddenDelay: number;
  #failures = 0;

  constructor(random: Random, forbiddenDelay: number = defaultForbiddenDelay) {
    this.#random = random;
    this.#forbiddenDelay = forbiddenDelay;
  }

  reset(): void {
    this.#failures = 0;
  }

  /** ms to wait after one more failure; not less than the server asks for. */
  next({ status, retryAfter = 0 }: WatchError): number {
    this.#failures++;
    if (status === 403) return this.#forbiddenDelay * (1 + this.#random());
    const [first, longest] = delays;
    const limit = this.#failures === 1 ? promptly : Math.min(longest, first * 2 ** (this.#failures - 2));
    return retryAfter + this.#random() * limit;
  }
}
