import type { Backend, BackendStats } from '../../core/backend.ts';
import type { Outcome, Release } from '../../core/outcome.ts';
import type { Client } from './client.ts';
import type { SimEvent } from './event-queue.ts';
import type { Pod } from './pod.ts';
import type { World } from './world.ts';

const reset: Error = new Error('simulated connection reset');
const refused: Error = new Error('simulated connection refused');

type Stage = 'sent' | 'running' | 'failing' | 'answered' | 'void';

/** One call on its way through the world; used again when it is over. */
export class Call implements SimEvent {
  readonly #world: World;
  #stage: Stage = 'sent';
  #failed = false;
  /** Whether its time counts, i.e. it is not part of the warm-up. */
  counted = false;
  hashKey: string | undefined;
  /** Service time on a pod of speed 1. */
  demand = 0;
  arrived = 0;
  started = 0;
  /** When it is served; moves while the pod stalls. */
  due = 0;
  #wasSent = true;
  pod: Pod | undefined;
  /** Its place among those that run on the pod. */
  slot = 0;
  client: Client | undefined;
  backend: BackendStats | undefined;
  release: Release | undefined;
  retries = 0;
  readonly tried: Set<Backend> = new Set<Backend>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Sends this attempt on its way to a pod, where it is after `delay` ms. */
  send(pod: Pod, delay: number): void {
    this.pod = pod;
    pod.coming++;
    this.#failed = false;
    this.#stage = 'sent';
    this.#after(delay);
  }

  serve(duration: number): void {
    this.#stage = 'running';
    this.due = this.#world.now + duration;
    this.#world.schedule(this.due, this);
  }

  fail(after: number, wasSent: boolean): void {
    // One that runs has an event under way already, which must not be taken for the failure's.
    const call = this.#stage === 'running' ? this.#moved() : this;
    call.#failed = true;
    call.#wasSent = wasSent;
    call.#stage = 'failing';
    call.#after(after);
  }

  fire(): void {
    const world = this.#world;
    switch (this.#stage) {
      case 'sent':
        (this.pod as Pod).receive(this);
        return;
      case 'running':
        if (this.due > world.now) {
          world.schedule(this.due, this);
          return;
        }
        (this.pod as Pod).finish(this);
        world.freed(this.pod as Pod);
        this.#stage = 'answered';
        this.#after(world.network);
        return;
      case 'failing':
        this.#stage = 'answered';
        this.#after(world.network);
        return;
      case 'answered':
        if (this.client !== undefined) this.client.receive(this);
        else world.end(this);
        return;
      case 'void':
    }
  }

  /** What the client learns from it. */
  outcome(): Outcome {
    const latency = this.#world.now - this.started;
    if (!this.#failed) return { kind: 'response', status: 200, latency };
    return { kind: 'error', error: this.#wasSent ? reset : refused, sent: this.#wasSent, latency };
  }

  get failed(): boolean {
    return this.#failed;
  }

  /** The same call in another object; this one's event comes to nothing. */
  #moved(): Call {
    const call = new Call(this.#world);
    call.counted = this.counted;
    call.hashKey = this.hashKey;
    call.demand = this.demand;
    call.arrived = this.arrived;
    call.started = this.started;
    call.pod = this.pod;
    call.client = this.client;
    call.backend = this.backend;
    call.release = this.release;
    call.retries = this.retries;
    for (const backend of this.tried) call.tried.add(backend);
    this.#stage = 'void';
    return call;
  }

  #after(delay: number): void {
    if (delay === 0) this.fire();
    else this.#world.schedule(this.#world.now + delay, this);
  }
}
