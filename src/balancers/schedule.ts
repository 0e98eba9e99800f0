import type { Backend, Backends } from '../core/backend.ts';
import type { Random } from '../core/clock.ts';

/** Multiples of it, without their whole part, lie evenly in 0 … 1, however many there are (Weyl). */
const goldenRatio = (Math.sqrt(5) - 1) / 2;

/** Phases that begin at random, so that clients do not march in step, and keep those that start together apart. */
export function spreadPhases(random: Random): () => number {
  let phase = random();
  return () => (phase = (phase + goldenRatio) % 1);
}

/**
 * Whose turn it is: each backend is due every 1 / weight, the earliest due goes first, found by a binary heap.
 * A weight of 0 takes part only when no other has any.
 */
export class Schedule {
  readonly #backends: Backends;
  readonly #strides: Float64Array;
  readonly #due: Float64Array;
  /** Indexes of those that take part, as a binary heap by `#due`. */
  readonly #heap: Int32Array;
  #now = 0;

  /** `phaseOf` tells how far from its turn each begins, in strides, from 0 to 1. */
  constructor(backends: Backends, weights: readonly number[], phaseOf: (backend: Backend) => number) {
    const even = weights.every((weight) => weight === 0);
    this.#backends = backends;
    this.#strides = Float64Array.from(weights, (weight) => (even ? 1 : 1 / weight));
    this.#due = Float64Array.from(backends, (backend, i) => phaseOf(backend) * (this.#strides[i] as number));
    const turns = backends.map((_, i) => i).filter((i) => Number.isFinite(this.#strides[i]));
    this.#heap = Int32Array.from(turns);
    for (let at = (this.#heap.length >> 1) - 1; at >= 0; at--) this.#sink(at);
  }

  /** The index of the one whose turn it is. */
  first(): number {
    return this.#heap[0] as number;
  }

  /** Ends the turn of the first: its next one is so many strides away. */
  delay(strides = 1): void {
    const index = this.#heap[0] as number;
    this.#now = this.#due[index] as number;
    this.#due[index] = this.#now + (this.#strides[index] as number) * strides;
    this.#sink(0);
  }

  /** How far each is from its turn, in strides: from 0, due now, to 1, just had it. */
  phases(): Map<Backend, number> {
    const phases = new Map<Backend, number>();
    for (const index of this.#heap) {
      const stride = this.#strides[index] as number;
      phases.set(this.#backends[index] as Backend, ((this.#due[index] as number) - this.#now) / stride);
    }
    return phases;
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const due = this.#due;
    const item = heap[from] as number;
    const time = due[item] as number;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (
        child + 1 < heap.length &&
        (due[heap[child + 1] as number] as number) < (due[heap[child] as number] as number)
      )
        child++;
      if ((due[heap[child] as number] as number) >= time) break;
      heap[at] = heap[child] as number;
      at = child;
    }
    heap[at] = item;
  }
}
