import pRetry from 'p-retry';

/** A failed attempt, and whether another follows it. */
export class AttemptFailed extends Error {
  /** ms until the next attempt; undefined: there is none. */
  readonly delay: number | undefined;

  constructor(cause: unknown, delay: number | undefined) {
    super('attempt failed', { cause });
    this.delay = delay;
  }
}

/** What a retried call does; each step is decided by the call when the failure happens. */
export interface Retried {
  /** Makes one more attempt: resolves when the call is answered, rejects with `AttemptFailed`. */
  again(): Promise<void>;
  /** Waits; rejects when the call ends meanwhile. */
  backoff(delay: number): Promise<void>;
  /** No attempt follows. */
  fail(error: unknown): void;
}

/**
 * Drives what follows the first failure of a call; calls that succeed at once never come here. How many attempts
 * follow, and when, is in each failure: what was provably not sent does not count like the rest.
 */
export function retryCall(call: Retried, first: AttemptFailed): void {
  pRetry(
    async (attempt) => {
      if (attempt === 1) throw first;
      await call.again();
    },
    {
      retries: Number.POSITIVE_INFINITY,
      minTimeout: 0,
      shouldRetry: async ({ error }) => {
        if (!(error instanceof AttemptFailed) || error.delay === undefined) return false;
        if (error.delay > 0) await call.backoff(error.delay);
        return true;
      },
    },
  ).catch((error: unknown) => call.fail(error instanceof AttemptFailed ? error.cause : error));
}

/** Full jitter: uniform in [0, min × (2ⁿ − 1)], at most `max`, for the n-th retry. As Envoy does it. */
export function fullJitter(retry: number, min: number, max: number, random: () => number): number {
  return random() * Math.min(max, min * (2 ** retry - 1));
}
