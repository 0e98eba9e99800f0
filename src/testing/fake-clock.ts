import type { Cancel, Clock } from '../core/clock.ts';
import { number } from '../core/options.ts';

interface Timer {
  readonly due: number;
  readonly order: number;
  readonly callback: () => void;
}

/** A clock that stands still until it is told to move. */
export class FakeClock implements Clock {
  #now: number;
  #order = 0;
  readonly #timers = new Set<Timer>();

  constructor(now = 0) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  schedule(delay: number, callback: () => void): Cancel {
    const timer = { due: this.#now + Math.max(0, delay), order: this.#order++, callback };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** Callbacks that wait: 0 when whatever was tested has been cleaned up. */
  get pending(): number {
    return this.#timers.size;
  }

  /** ms until the next callback; undefined when none waits. */
  get next(): number | undefined {
    const timer = this.#first(Number.POSITIVE_INFINITY);
    return timer && timer.due - this.#now;
  }

  /**
   * Moves time by `ms`: callbacks run at their time, in order, those scheduled meanwhile too, and after each one
   * promises settle before the next.
   */
  async advance(ms: number): Promise<void> {
    number(0)(ms, 'ms of FakeClock.advance');
    const end = this.#now + ms;
    await settle();
    for (let timer = this.#first(end); timer !== undefined; timer = this.#first(end)) {
      this.#timers.delete(timer);
      this.#now = Math.max(this.#now, timer.due);
      timer.callback();
      await settle();
    }
    this.#now = end;
  }

  #first(end: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.due > end) continue;
      if (
        first === undefined ||
        timer.due < first.due ||
        (timer.due === first.due && timer.order < first.order)
      )
        first = timer;
    }
    return first;
  }
}

/** One turn of the event loop: every promise that can settle has settled. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
