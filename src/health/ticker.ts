import type { Cancel, Clock } from '../core/clock.ts';

/** Told how many periods have passed: more than one where our own event loop was blocked. */
type Tick = (periods: number) => void;

/** One timer for all that has to be done every so many ms; it runs while there is something. */
export class Ticker {
  static readonly #of = new WeakMap<Clock, Map<number, Ticker>>();

  /**
   * Calls back every `period` ms, with all others who asked for the same period of the same clock. Each is to bring a
   * function of its own.
   */
  static every(clock: Clock, period: number, tick: Tick): Cancel {
    const tickers = Ticker.#of.get(clock) ?? new Map<number, Ticker>();
    Ticker.#of.set(clock, tickers);
    let ticker = tickers.get(period);
    if (ticker === undefined) {
      ticker = new Ticker(clock, period, () => tickers.delete(period));
      tickers.set(period, ticker);
    }
    return ticker.#add(tick);
  }

  readonly #clock: Clock;
  readonly #period: number;
  readonly #onEmpty: () => void;
  readonly #ticks = new Set<Tick>();
  #last: number;
  #cancel: Cancel;

  private constructor(clock: Clock, period: number, onEmpty: () => void) {
    this.#clock = clock;
    this.#period = period;
    this.#onEmpty = onEmpty;
    this.#last = clock.now();
    this.#cancel = clock.schedule(period, () => this.#tick());
  }

  #add(tick: Tick): Cancel {
    this.#ticks.add(tick);
    return () => {
      if (!this.#ticks.delete(tick) || this.#ticks.size > 0) return;
      this.#cancel();
      this.#onEmpty();
    };
  }

  #tick(): void {
    const periods = Math.max(1, Math.floor((this.#clock.now() - this.#last) / this.#period));
    this.#last += periods * this.#period;
    this.#cancel = this.#clock.schedule(this.#last + this.#period - this.#clock.now(), () => this.#tick());
    for (const tick of [...this.#ticks]) if (this.#ticks.has(tick)) tick(periods);
  }
}
