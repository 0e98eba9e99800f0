import type { Backend, Backends } from '../core/backend.ts';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import { type Random, systemRandom } from '../core/clock.ts';
import { checkOptions, func } from '../core/options.ts';
import { untriedFrom } from './untried.ts';

export interface RoundRobinOptions {
  readonly random?: Random;
}

/** Where a round through one set stands. */
interface Round {
  next: number;
}

/**
 * Every backend in turn, whatever its load and weight. Starts at a random place, so that clients that start
 * together do not march in step; a changed set goes on after the backend picked last.
 */
export function roundRobin(options: RoundRobinOptions = {}): Balancer {
  checkOptions('roundRobin', { random: func }, options);
  return new RoundRobin(options.random ?? systemRandom);
}

class RoundRobin implements Balancer {
  readonly #random: Random;
  readonly #rounds = new WeakMap<Backends, Round>();
  #backends: Backends | undefined;
  #round: Round = { next: 0 };
  #last: Backend | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  pick(backends: Backends, { tried }: PickRequest): Backend {
    if (backends !== this.#backends) this.#enter(backends);
    const round = this.#round;
    const at = round.next;
    round.next = at + 1 < backends.length ? at + 1 : 0;
    return (this.#last = untriedFrom(backends, at, tried));
  }

  #enter(backends: Backends): void {
    let round = this.#rounds.get(backends);
    if (round === undefined) {
      const last = this.#last === undefined ? -1 : backends.indexOf(this.#last);
      const start = last === -1 ? (this.#random() * backends.length) | 0 : last + 1;
      round = { next: start < backends.length ? start : 0 };
      this.#rounds.set(backends, round);
    }
    this.#backends = backends;
    this.#round = round;
  }
}
