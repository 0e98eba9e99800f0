import type { Random } from '../../core/clock.ts';
import type { Call } from './call.ts';
import type { Pod } from './pod.ts';
import type { World } from './world.ts';

/** A dispatcher that sees all pods, to measure policies against. */
export interface Reference {
  send(call: Call): void;
  freed?(pod: Pod): void;
}

/**
 * The ideal: one queue for all pods, as near to clients as pods are, and the fastest idle worker takes the next call.
 * No balancer can do as well where pods are alike; where some are slow, one that lets a call wait for a fast pod may.
 */
export class CentralQueue implements Reference {
  readonly #world: World;
  #waiting: Call[] = [];
  #head = 0;

  constructor(world: World) {
    this.#world = world;
  }

  send(call: Call): void {
    const world = this.#world;
    if (world.network === 0) this.#take(call);
    else world.schedule(world.now + world.network, { fire: () => this.#take(call) });
  }

  #take(call: Call): void {
    let best: Pod | undefined;
    for (const pod of this.#world.live) {
      if (pod.idle && (best === undefined || pod.speed > best.speed)) best = pod;
    }
    if (best === undefined) this.#waiting.push(call);
    else this.#give(call, best);
  }

  freed(pod: Pod): void {
    if (pod.gone) return;
    while (pod.idle) {
      const call = this.#waiting[this.#head];
      if (call === undefined) return;
      this.#head++;
      if (this.#head > 64 && this.#head * 2 > this.#waiting.length) {
        this.#waiting = this.#waiting.slice(this.#head);
        this.#head = 0;
      }
      this.#give(call, pod);
    }
  }

  #give(call: Call, pod: Pod): void {
    this.#world.attempted(pod);
    call.send(pod, 0);
  }
}

/** The oracle: joins the shortest queue, speed taken into account, knowing all of them and what is on its way to them. */
export class ShortestQueue implements Reference {
  readonly #world: World;
  readonly #random: Random;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  send(call: Call): void {
    let best: Pod | undefined;
    let least = Number.POSITIVE_INFINITY;
    let equals = 0;
    for (const pod of this.#world.live) {
      if (pod.failing) continue;
      const cost = (pod.load + 1) / pod.speed;
      if (cost > least) continue;
      equals = cost === least ? equals + 1 : 1;
      least = cost;
      if (equals === 1 || this.#random() * equals < 1) best = pod;
    }
    const pod = best ?? (this.#world.live[0] as Pod);
    this.#world.attempted(pod);
    call.send(pod, this.#world.network);
  }
}
