import { EventEmitter } from 'node:events';
import CircuitBreaker from 'opossum';
import { type Cancel, type Clock, maxDelay, type Random } from '../core/clock.ts';
import { Ticker } from './ticker.ts';

export type CircuitState = 'closed' | 'open' | 'half-open';

export interface CircuitSettings {
  /** Failures in a row that open the circuit. */
  readonly consecutive: number;
  /** Share of failures within `window` that opens it, 0 to 1. */
  readonly rate: number;
  /** Results within `window` below which the share is not looked at. */
  readonly volume: number;
  /** ms */
  readonly window: number;
  /** ms of the first ejection; the n-th in a row lasts n times as long. */
  readonly ejection: number;
  /** ms */
  readonly maxEjection: number;
}

/** What a circuit needs from its surroundings. */
export interface CircuitContext {
  readonly clock: Clock;
  readonly random: Random;
  /** Asked before each opening: not everything may be ejected at once. */
  mayOpen(): boolean;
  /** The state, or whether a trial may begin, has changed. */
  onChange(): void;
}

const buckets = 5;

/** How one trial in the half-open state ended; `neutral` says nothing and lets another trial begin. */
export type TrialResult = 'success' | 'failure' | 'neutral';

/**
 * The circuit of one endpoint: opossum's states and rolling window, on our clock. opossum runs on real timers with
 * one fixed reset time; ejections here grow, so the way from open to half-open is ours: a breaker restored in the
 * half-open state. Its window is rotated by a ticker that all circuits share, and only while there is something in it.
 */
export class Circuit {
  #settings: CircuitSettings;
  readonly #context: CircuitContext;
  readonly #rotator = new EventEmitter();
  #breaker: CircuitBreaker<[Promise<void>], void>;
  #stopTicking: Cancel | undefined;
  #consecutive = 0;
  #ejections = 0;
  /** Undefined while it is not closed: only health makes ejections forgotten. */
  #closedAt: number | undefined;
  /** When an open circuit lets a trial through, or a trial that runs is given up. */
  #retryAt = 0;
  #epoch = 0;
  #cancel: Cancel | undefined;
  #gone = false;

  constructor(settings: CircuitSettings, context: CircuitContext) {
    this.#settings = settings;
    this.#context = context;
    this.#closedAt = context.clock.now();
    this.#breaker = this.#create(false);
  }

  get state(): CircuitState {
    if (this.#breaker.closed) return 'closed';
    return this.#breaker.halfOpen ? 'half-open' : 'open';
  }

  /** Whether a call may go through: always when closed, one at a time when half-open. */
  get admits(): boolean {
    return this.#breaker.closed || (this.#breaker.halfOpen && this.#breaker.pendingClose);
  }

  /** Grows with each opening: results of calls that began in an earlier epoch say nothing about now. */
  get epoch(): number {
    return this.#epoch;
  }

  /** ms until a trial is let through; 0 when one may begin now. */
  get retryAfter(): number {
    return this.admits ? 0 : Math.max(0, this.#retryAt - this.#context.clock.now());
  }

  /** Whether nothing is left to remember: as if it had never failed. */
  get idle(): boolean {
    if (!this.#breaker.closed || this.#consecutive > 0 || this.#counts.failures > 0) return false;
    return this.#remembered(this.#context.clock.now()) === 0;
  }

  /** Takes new limits; what was counted stays. */
  update(settings: CircuitSettings): void {
    const ticks = this.#stopTicking !== undefined;
    this.#rest();
    this.#settings = settings;
    if (ticks) this.#startTicking();
  }

  /** The result of a call that began in the current epoch and was no trial; ignored unless closed. */
  report(failed: boolean): void {
    if (!this.#breaker.closed || this.#gone) return;
    if (this.#stopTicking === undefined) this.#startTicking();
    this.#breaker.emit('fire', []);
    if (!failed) {
      this.#consecutive = 0;
      this.#breaker.emit('success', undefined, 0);
      return;
    }
    this.#consecutive++;
    this.#breaker.emit('failure', undefined, 0, []);
    if (this.#tripped() && this.#context.mayOpen()) this.#open();
  }

  /**
   * Begins the trial of the half-open state; the returned function settles it, once. Where it has not settled within an
   * ejection time another may begin; that it fails counts even then. Undefined when no trial may begin.
   */
  trial(): ((result: TrialResult) => void) | undefined {
    if (!this.#breaker.halfOpen || !this.#breaker.pendingClose) return undefined;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const epoch = this.#epoch;
    const current = (): boolean => !this.#gone && this.#epoch === epoch;
    let settled = false;
    const settle = (result: TrialResult): void => {
      if (!current()) return;
      if (settled) {
        // It was given up, and has failed after all: so may the trial that runs now.
        if (result === 'failure' && this.#breaker.halfOpen) this.#open();
        return;
      }
      settled = true;
      this.#cancel?.();
      if (result === 'success') resolve();
      else if (result === 'failure') reject(new Error('trial failed'));
      else this.#halfOpen();
    };
    // opossum lets exactly one through, and closes or opens by its result. By the time we hear of it a failure may have
    // been reported, and have opened what was closed again.
    this.#breaker.fire(promise).then(
      () => current() && this.#closed(),
      () => current() && this.#open(),
    );
    const { clock } = this.#context;
    this.#retryAt = clock.now() + this.#settings.ejection;
    this.#cancel = clock.schedule(this.#settings.ejection, () => settle('neutral'));
    this.#context.onChange();
    return settle;
  }

  /** Forgets everything and frees the timers. */
  close(): void {
    this.#gone = true;
    this.#cancel?.();
    this.#rest();
    this.#breaker.shutdown();
  }

  #create(halfOpen: boolean): CircuitBreaker<[Promise<void>], void> {
    const options: CircuitBreaker.Options & { rotateBucketController: EventEmitter } = {
      timeout: false,
      enableSnapshots: false,
      rollingPercentilesEnabled: false,
      rollingCountBuckets: buckets,
      rollingCountTimeout: this.#settings.window,
      rotateBucketController: this.#rotator,
      // Opened by us, at once: opossum's own trigger is asynchronous, and knows no ejection limit.
      volumeThreshold: Number.MAX_SAFE_INTEGER,
      // Nor is its timer the one that ends an ejection.
      resetTimeout: maxDelay,
      ...(halfOpen ? { state: { closed: false, halfOpen: true } as unknown as CircuitBreaker.State } : {}),
    };
    return new CircuitBreaker((result: Promise<void>) => result, options);
  }

  #replace(halfOpen: boolean): void {
    this.#breaker.shutdown();
    this.#breaker = this.#create(halfOpen);
  }

  #open(): void {
    const { ejection, maxEjection } = this.#settings;
    const { clock, random } = this.#context;
    const now = clock.now();
    this.#ejections = this.#remembered(now) + 1;
    this.#closedAt = undefined;
    this.#consecutive = 0;
    this.#epoch++;
    const duration = Math.min(ejection * this.#ejections, maxEjection) * (0.9 + 0.2 * random());
    this.#retryAt = now + duration;
    this.#breaker.open();
    this.#cancel?.();
    this.#cancel = clock.schedule(duration, () => this.#halfOpen());
    this.#context.onChange();
  }

  #halfOpen(): void {
    this.#cancel = undefined;
    this.#replace(true);
    this.#context.onChange();
  }

  #closed(): void {
    this.#closedAt = this.#context.clock.now();
    this.#replace(false);
    this.#context.onChange();
  }

  /** Past ejections that still count: one is forgotten with each window of health. */
  #remembered(now: number): number {
    const healthy =
      this.#closedAt === undefined ? 0 : Math.floor((now - this.#closedAt) / this.#settings.window);
    return Math.max(0, this.#ejections - healthy);
  }

  #tripped(): boolean {
    const { consecutive, rate, volume } = this.#settings;
    if (this.#consecutive >= consecutive) return true;
    const { failures, results } = this.#counts;
    return results >= volume && failures >= results * rate;
  }

  get #counts(): { failures: number; results: number } {
    let failures = 0;
    let results = 0;
    for (const bucket of this.#breaker.status.window) {
      failures += bucket.failures;
      results += bucket.failures + bucket.successes;
    }
    return { failures, results };
  }

  #startTicking(): void {
    const period = this.#settings.window / buckets;
    this.#stopTicking = Ticker.every(this.#context.clock, period, (periods) => this.#tick(periods));
  }

  #tick(periods: number): void {
    for (let i = Math.min(periods, buckets); i > 0; i--) this.#rotator.emit('rotate');
    if (this.#counts.results === 0) this.#rest();
  }

  #rest(): void {
    this.#stopTicking?.();
    this.#stopTicking = undefined;
  }
}
