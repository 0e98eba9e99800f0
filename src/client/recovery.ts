import type { Backend } from '../core/backend.ts';
import type { Attempt as AttemptReport, FailureClass } from '../core/errors.ts';
import type { Attempt } from './attempt.ts';
import { AttemptFailed, fullJitter, type Retried, retryCall } from './retry.ts';
import type { Service } from './service.ts';

/** A call, as far as recovering it goes. */
export interface Recoverable {
  readonly aborted: boolean;
  /** When its deadline is, in ms of the clock. */
  readonly totalDue: number;
  /** Whether its body can be sent again. */
  readonly replayable: boolean;
  /** Whether the peer may see it twice. */
  readonly repeatable: boolean;
  /** Makes one more attempt. */
  attempt(): void;
  /** Waits so many ms; rejects when the call ends meanwhile. */
  backoff(delay: number): Promise<void>;
  fail(error: unknown): void;
}

/** Unsent attempts that may go on to yet another endpoint without counting. */
const maxHops = 3;
/** An attempt is not worth starting with less time left, in ms. */
const leastRemaining = 5;

/**
 * What becomes of a call whose attempts come to nothing: whether another follows, when, where it had better not go,
 * and what the caller is told in the end. Made by the first failure.
 */
export class Recovery implements Retried {
  /** What the caller's error says of the attempts. */
  readonly reports: AttemptReport[] = [];
  /** The last error that an endpoint gave, rather than a reason not to ask one. */
  lastError: Error | undefined;
  /** No eligible endpoint can be reached, or the only one that can has failed twice: an ejected one might answer. */
  stranded = false;
  readonly #call: Recoverable;
  readonly #service: Service;
  #retries = 0;
  #hops = 0;
  /** Backends that had an attempt. */
  readonly #asked = new Set<Backend>();
  /** Those of them to which no connection could be made. */
  readonly #unreached = new Set<Backend>();
  /** How p-retry hears of the attempt that it waits for. */
  #awaited: { resolve: () => void; reject: (error: AttemptFailed) => void } | undefined;

  constructor(call: Recoverable, service: Service) {
    this.#call = call;
    this.#service = service;
  }

  /** How many attempts there were that may have reached an endpoint. */
  get seen(): number {
    return this.reports.filter(({ class: failure }) => failure !== 'unsent').length;
  }

  note(attempt: Attempt, failure: FailureClass, code: string): void {
    this.reports.push(attempt.report(failure, code));
  }

  /**
   * Whom the next attempt avoids. Whoever has been tried comes last; when all have been, the last one and those that
   * could not even be reached do.
   */
  avoid(backend: Backend, failure: FailureClass): ReadonlySet<Backend> {
    const service = this.#service;
    const failedTwice = this.#asked.has(backend);
    const asked = this.#asked.add(backend);
    if (failure === 'unsent') this.#unreached.add(backend);
    const noneReached = failure === 'unsent' && this.#unreached.size === asked.size;
    this.stranded = (noneReached || failedTwice) && !service.leaves(asked) && service.leaves(asked, true);
    const sets = [asked, [...this.#unreached, backend], this.#unreached, [backend]];
    const tried = sets.map((set) => new Set<Backend>(set));
    return tried.find((set) => service.leaves(set, this.stranded)) ?? new Set(asked);
  }

  /**
   * ms until the next attempt, paid for; undefined when there must be none. `after`: what the endpoint asked for, in
   * ms.
   */
  plan(failure: FailureClass, after: number | undefined): number | undefined {
    const call = this.#call;
    const service = this.#service;
    const { settings } = service;
    if (!settings.retry || call.aborted || service.closed || failure === 'committed') return undefined;
    if (!call.replayable) return undefined;
    const now = service.clock.now();
    if (call.totalDue - now < leastRemaining) return undefined;
    if (
      (failure === 'unsent' && this.#hops < maxHops && (this.stranded || service.leaves(this.#asked))) ||
      (failure === 'refused' && this.#hops === 0)
    ) {
      this.#hops++;
      return 0;
    }
    if (this.#retries >= settings.attempts - 1) return undefined;
    if (failure === 'ambiguous' && !call.repeatable) return undefined;
    if (after !== undefined && after > settings.maxRetryAfter) return undefined;
    const backoff = fullJitter(this.#retries + 1, settings.backoffMin, settings.backoffMax, service.random);
    const delay = Math.max(after ?? 0, backoff);
    if (now + delay + leastRemaining > call.totalDue) return undefined;
    if (!service.budget.withdraw(now)) return undefined;
    this.#retries++;
    service.retries++;
    return delay;
  }

  /** The attempt that was out came to nothing, and another follows after `delay` ms; none when that is undefined. */
  lost(error: Error, delay: number | undefined): void {
    const awaited = this.#awaited;
    this.#awaited = undefined;
    if (awaited !== undefined) awaited.reject(new AttemptFailed(error, delay));
    else if (delay === undefined) this.#call.fail(error);
    else retryCall(this, new AttemptFailed(error, delay));
  }

  /** The call has its answer, or its end. */
  settle(): void {
    this.#awaited?.resolve();
    this.#awaited = undefined;
  }

  again(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#awaited = { resolve, reject };
      this.#call.attempt();
    });
  }

  backoff(delay: number): Promise<void> {
    return this.#call.backoff(delay);
  }

  fail(error: unknown): void {
    this.#call.fail(error);
  }
}
