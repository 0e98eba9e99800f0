import { afterTwoTurns, type Cancel, type Clock } from '../core/clock.ts';

/** Something with a time at which it ends. The links belong to the list it is in. */
export interface Due {
  /** ms of the clock. Not to be changed while it is in a list. */
  due: number;
  /** -1 while it is in no list. */
  slot: number;
  previous: Due | undefined;
  next: Due | undefined;
  /** Its time has come; it is in no list any more. `late`: ms that our own event loop was blocked; 0 when it was not. */
  expire(late: number): void;
}

/** Deadlines are at most this much late. */
const tick = 8;
/** One rotation is 8.2 s: most deadlines fire within two. */
const slotCount = 1024;
/** A timer later than this means that our own event loop was blocked. */
export const lateness = 50;

/**
 * Deadlines of many calls on one timer: a hashed timing wheel (Varghese and Lauck 1987), so that starting and
 * ending a deadline is a few pointer writes. A deadline that fires late because our own event loop was blocked waits
 * two more turns, for answers that the kernel has had all along.
 */
export class Deadlines {
  static readonly #of = new WeakMap<Clock, Deadlines>();

  /** The wheel of a clock: one for all services in the process. */
  static of(clock: Clock): Deadlines {
    let deadlines = Deadlines.#of.get(clock);
    if (deadlines === undefined) Deadlines.#of.set(clock, (deadlines = new Deadlines(clock)));
    return deadlines;
  }

  readonly #clock: Clock;
  readonly #slots: (Due | undefined)[] = new Array(slotCount).fill(undefined);
  #size = 0;
  /** The next tick to look at. */
  #cursor = 0;
  #wake = Number.POSITIVE_INFINITY;
  #cancel: Cancel | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#size;
  }

  add(entry: Due): void {
    if (entry.due === Number.POSITIVE_INFINITY) return;
    if (this.#size++ === 0) this.#cursor = Math.floor(this.#clock.now() / tick);
    const at = Math.max(Math.ceil(entry.due / tick), this.#cursor);
    const slot = at % slotCount;
    const first = this.#slots[slot];
    entry.slot = slot;
    entry.next = first;
    entry.previous = undefined;
    if (first !== undefined) first.previous = entry;
    this.#slots[slot] = entry;
    if (at * tick < this.#wake) this.#schedule(at);
  }

  /** Harmless for an entry that is in no list. */
  remove(entry: Due): void {
    if (entry.slot === -1) return;
    const { previous, next } = entry;
    if (previous === undefined) this.#slots[entry.slot] = next;
    else previous.next = next;
    if (next !== undefined) next.previous = previous;
    entry.previous = entry.next = undefined;
    entry.slot = -1;
    this.#size--;
  }

  /** Lets go of the timer while nothing waits; the next entry brings it back. */
  rest(): void {
    if (this.#size > 0) return;
    this.#cancel?.();
    this.#cancel = undefined;
    this.#wake = Number.POSITIVE_INFINITY;
  }

  #schedule(at: number): void {
    this.#cancel?.();
    const now = this.#clock.now();
    // What was due before it was added is not late by that.
    this.#wake = Math.max(at * tick, now);
    this.#cancel = this.#clock.schedule(this.#wake - now, () => this.#awake());
  }

  #awake(): void {
    const late = this.#clock.now() - this.#wake;
    this.#cancel = undefined;
    this.#wake = Number.POSITIVE_INFINITY;
    if (late > lateness) afterTwoTurns(() => this.#run(late));
    else this.#run(0);
  }

  #run(late: number): void {
    const now = this.#clock.now();
    const until = Math.floor(now / tick);
    const expired: Due[] = [];
    // More than one rotation behind, every slot is looked at once.
    for (let at = Math.max(this.#cursor, until - slotCount + 1); at <= until; at++) {
      for (let entry = this.#slots[at % slotCount]; entry !== undefined; ) {
        const { next } = entry;
        if (entry.due <= now) {
          this.remove(entry);
          expired.push(entry);
        }
        entry = next;
      }
    }
    this.#cursor = until + 1;
    // Scheduled before anything expires: whoever expires may add.
    if (this.#size > 0 && this.#wake === Number.POSITIVE_INFINITY) this.#scheduleNext();
    for (const entry of expired) entry.expire(late);
  }

  #scheduleNext(): void {
    for (let at = this.#cursor; at < this.#cursor + slotCount; at++) {
      if (this.#slots[at % slotCount] === undefined) continue;
      this.#schedule(at);
      return;
    }
  }
}
