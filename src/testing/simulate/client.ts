import { type Backend, BackendStats, type Backends } from '../../core/backend.ts';
import type { Balancer, PickRequest } from '../../core/balancer.ts';
import type { Cancel, Clock, Random } from '../../core/clock.ts';
import type { Endpoint } from '../../core/endpoint.ts';
import type { Call } from './call.ts';
import type { SimEvent } from './event-queue.ts';
import type { Pod } from './pod.ts';
import type { World } from './world.ts';

/** What a policy is made from: the simulated clock and chance, and the client's own zone if it has one. */
export interface PolicyContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly zone?: string;
}

/** Makes the balancer of one client. */
export type Policy = (context: PolicyContext) => Balancer;

/** Timers run before the answers that came in during a pause, as they do in Node's event loop; in ms. */
const afterTimers = 1e-6;

/** One process that calls the pods, with a balancer of its own: its sequence per attempt is that of the real client. */
export class Client implements Clock {
  readonly #world: World;
  readonly #balancer: Balancer;
  readonly #pods = new Map<Backend, Pod>();
  readonly #known = new Map<Pod, BackendStats>();
  #backends: Backends | undefined;
  #pausedUntil = 0;
  readonly #request: { hashKey?: string; tried?: ReadonlySet<Backend> } = {};

  constructor(world: World, policy: Policy, random: Random, zone: string | undefined) {
    this.#world = world;
    this.#balancer = policy({ clock: this, random, ...(zone === undefined ? {} : { zone }) });
    if (typeof this.#balancer?.pick !== 'function')
      throw new TypeError('simulate: a policy must return a Balancer, which has a method pick()');
  }

  now(): number {
    return this.#world.now;
  }

  schedule(delay: number, callback: () => void): Cancel {
    let live = true;
    const timer: SimEvent = {
      fire: () => {
        if (!live) return;
        if (this.#world.now < this.#pausedUntil) {
          this.#world.schedule(this.#pausedUntil, timer);
          return;
        }
        live = false;
        callback();
      },
    };
    this.#world.schedule(this.#world.now + Math.max(0, delay), timer);
    return () => {
      live = false;
    };
  }

  /** The set as this client hears of it. */
  see(pods: readonly Pod[]): void {
    const seen = new Set(pods);
    for (const [pod, stats] of this.#known) {
      if (seen.has(pod)) continue;
      this.#known.delete(pod);
      this.#pods.delete(stats);
    }
    const backends = pods.map((pod) => {
      let stats = this.#known.get(pod);
      if (stats === undefined) {
        stats = new BackendStats(pod.endpoint, this);
        this.#known.set(pod, stats);
        this.#pods.set(stats, pod);
      }
      return stats;
    });
    const [first, ...rest] = backends;
    // The last good set is kept, as the library does.
    if (first !== undefined) this.#backends = [first, ...rest];
  }

  get endpoints(): readonly Endpoint[] {
    return [...this.#known.keys()].map((pod) => pod.endpoint);
  }

  pause(duration: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#world.now + duration);
  }

  send(call: Call): void {
    if (this.#world.now < this.#pausedUntil) {
      this.#world.schedule(this.#pausedUntil + afterTimers, { fire: () => this.send(call) });
      return;
    }
    const request = this.#request;
    if (call.hashKey === undefined) delete request.hashKey;
    else request.hashKey = call.hashKey;
    if (call.tried.size === 0) delete request.tried;
    else request.tried = call.tried;
    const backend = this.#balancer.pick(this.#backends as Backends, request as PickRequest) as BackendStats;
    const pod = this.#pods.get(backend);
    if (pod === undefined)
      throw new Error('the balancer picked a backend that is not in the set it was given');
    backend.begin();
    call.backend = backend;
    call.release = this.#balancer.begin?.(backend);
    call.started = this.#world.now;
    this.#world.attempted(pod);
    call.send(pod, this.#world.network);
  }

  receive(call: Call): void {
    if (this.#world.now < this.#pausedUntil) {
      this.#world.schedule(this.#pausedUntil + afterTimers, call);
      return;
    }
    const outcome = call.outcome();
    const backend = call.backend as BackendStats;
    backend.end(outcome);
    call.release?.(outcome);
    if (call.failed && call.retries > 0) {
      call.retries--;
      call.tried.add(backend);
      this.send(call);
    } else {
      this.#world.end(call);
    }
  }
}
