import type { Backend, Backends } from '../core/backend.ts';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import { type Random, systemRandom } from '../core/clock.ts';
import { checkOptions, func } from '../core/options.ts';
import { untriedFrom } from './untried.ts';
import { weightOf } from './weight.ts';

export interface WeightedRoundRobinOptions {
  readonly random?: Random;
}

/**
 * Every backend in turn, as often as its endpoint's weight says, evenly spread: with whole weights each gets exactly
 * its weight of every `sum of weights` picks. A weight of 0 gets calls only while no other has any weight.
 *
 * Stride scheduling (Waldspurger, Weihl, 1995): each backend is due every 1 / weight, the earliest due goes next,
 * found by a binary heap in O(log n). Starts at random phases, so that clients do not march in step; a changed set
 * keeps the phases of those that stay.
 */
export function weightedRoundRobin(options: WeightedRoundRobinOptions = {}): Balancer {
  checkOptions('weightedRoundRobin', { random: func }, options);
  return new WeightedRoundRobin(options.random ?? systemRandom);
}

class WeightedRoundRobin implements Balancer {
  readonly #random: Random;
  readonly #schedules = new WeakMap<Backends, Schedule>();
  #backends: Backends | undefined;
  #schedule: Schedule | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  pick(backends: Backends, { tried }: PickRequest): Backend {
    const schedule =
      backends === this.#backends && this.#schedule !== undefined ? this.#schedule : this.#enter(backends);
    if (tried === undefined || tried.size === 0) return backends[schedule.next()] as Backend;
    // The turns of tried ones pass: they have had this call already. A heavy one may be due many times in a row.
    for (let turn = 0; turn <= 2 * tried.size; turn++) {
      const backend = backends[schedule.next()] as Backend;
      if (!tried.has(backend)) return backend;
    }
    return untriedFrom(backends, (this.#random() * backends.length) | 0, tried);
  }

  #enter(backends: Backends): Schedule {
    let schedule = this.#schedules.get(backends);
    if (schedule === undefined) {
      const phases = this.#schedule?.phases();
      schedule = new Schedule(backends, (backend) => phases?.get(backend) ?? this.#random());
      this.#schedules.set(backends, schedule);
    }
    this.#backends = backends;
    return (this.#schedule = schedule);
  }
}

/** Whose turn it is. */
class Schedule {
  readonly #backends: Backends;
  readonly #strides: Float64Array;
  readonly #due: Float64Array;
  /** Indexes of those that take part, as a binary heap by `#due`. */
  readonly #heap: Int32Array;
  #now = 0;

  constructor(backends: Backends, phaseOf: (backend: Backend) => number) {
    const weights = backends.map(weightOf);
    const even = weights.every((weight) => weight === 0);
    this.#backends = backends;
    this.#strides = Float64Array.from(weights, (weight) => (even ? 1 : 1 / weight));
    this.#due = Float64Array.from(backends, (backend, i) => phaseOf(backend) * (this.#strides[i] as number));
    const turns = backends.map((_, i) => i).filter((i) => Number.isFinite(this.#strides[i]));
    this.#heap = Int32Array.from(turns);
    for (let at = (this.#heap.length >> 1) - 1; at >= 0; at--) this.#sink(at);
  }

  next(): number {
    const index = this.#heap[0] as number;
    this.#now = this.#due[index] as number;
    this.#due[index] = this.#now + (this.#strides[index] as number);
    this.#sink(0);
    return index;
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
