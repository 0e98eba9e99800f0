import type { Clock } from '../../core/clock.ts';

/** ms between two looks at what changes by time alone: old calls, idle backends, our own event loop. */
const interval = 25;
/** ms that a tick may be late before our event loop counts as stalled; timers are late by a few anyway. */
const usualDelay = 8;
/** Readings of the clock that are less than so many ms apart become rarer, down to one in so many calls. */
const quickly = 0.25;
const longestStride = 15;

/** The time as a busy balancer needs it: cheap to read, with ticks while there is need, and aware of our own stalls. */
export class Pulse {
  readonly #clock: Clock;
  readonly #onTick: () => void;
  readonly #goesOn: () => boolean;
  readonly #fire = (): void => this.#tick();
  /** The last reading of the clock, in ms. */
  now: number;
  /** How long our event loop has been blocked in all, and when it last was, in ms. */
  stalled = 0;
  lastStallBegan = 0;
  /** How many calls begin between two readings, and how many still to come. */
  #stride = 0;
  #skip = 0;
  #ticking = false;
  #due = 0;
  #ticked: number;

  /** Ticks for as long as `goesOn` says so. */
  constructor(clock: Clock, onTick: () => void, goesOn: () => boolean) {
    this.#clock = clock;
    this.#onTick = onTick;
    this.#goesOn = goesOn;
    this.now = this.#ticked = clock.now();
  }

  /** The time, read so often only that it is at most about half a ms old, because reading costs as much as a pick. */
  read(): void {
    if (this.#skip > 0) this.#skip--;
    else this.#look();
  }

  /** Ticks from now on; at once if it is long since the last one. */
  start(): void {
    if (!this.#ticking) this.#begin();
  }

  #look(): void {
    const now = this.#clock.now();
    this.#stride = now - this.now < quickly ? Math.min(2 * this.#stride + 1, longestStride) : 0;
    this.#skip = this.#stride;
    this.now = now;
  }

  #begin(): void {
    this.#ticking = true;
    this.#next();
    if (this.now - this.#ticked < interval) return;
    this.#ticked = this.now;
    this.#onTick();
  }

  #next(): void {
    this.#due = this.now + interval;
    this.#clock.schedule(interval, this.#fire);
  }

  #tick(): void {
    const now = (this.now = this.#ticked = this.#clock.now());
    this.#stride = this.#skip = 0;
    if (now - this.#due > usualDelay) {
      // It may have begun right after the last tick.
      this.lastStallBegan = this.#due - interval;
      this.stalled += now - this.lastStallBegan;
    }
    this.#onTick();
    this.#ticking = this.#goesOn();
    if (this.#ticking) this.#next();
  }
}
