import type { Backend, Backends } from '../core/backend.ts';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import { type Random, systemRandom } from '../core/clock.ts';
import { checkOptions, func } from '../core/options.ts';
import { Schedule, spreadPhases } from './schedule.ts';
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
 * found by a binary heap in O(log n). Phases are spread evenly from a random one on, so that light backends are not
 * called in a row, nor do clients march in step; a changed set keeps the phases of those that stay.
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
    if (tried === undefined || tried.size === 0) return backends[turn(schedule)] as Backend;
    // The turns of tried ones pass: they have had this call already. A heavy one may be due many times in a row.
    for (let left = 2 * tried.size; left >= 0; left--) {
      const backend = backends[turn(schedule)] as Backend;
      if (!tried.has(backend)) return backend;
    }
    return untriedFrom(backends, (this.#random() * backends.length) | 0, tried);
  }

  #enter(backends: Backends): Schedule {
    let schedule = this.#schedules.get(backends);
    if (schedule === undefined) {
      const phases = this.#schedule?.phases();
      const next = spreadPhases(this.#random);
      schedule = new Schedule(backends, backends.map(weightOf), (backend) => phases?.get(backend) ?? next());
      this.#schedules.set(backends, schedule);
    }
    this.#backends = backends;
    return (this.#schedule = schedule);
  }
}

function turn(schedule: Schedule): number {
  const index = schedule.first();
  schedule.delay();
  return index;
}
