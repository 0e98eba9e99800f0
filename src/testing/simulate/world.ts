import type { Endpoint } from '../../core/endpoint.ts';
import { mix32 } from '../../core/hash.ts';
import { seeded } from '../seeded.ts';
import { endpoint } from '../values.ts';
import { Call } from './call.ts';
import { Client, type Policy } from './client.ts';
import { type Sampler, sampler } from './distribution.ts';
import { EventQueue, type SimEvent } from './event-queue.ts';
import { schedule } from './happenings.ts';
import { Pod } from './pod.ts';
import { CentralQueue, type Reference, ShortestQueue } from './reference.ts';
import type { FullScenario } from './scenario.ts';

/** What the calls are sent by: a policy per client, or one of the references, which see everything. */
export type Driver = Policy | 'ideal' | 'oracle';

/** A pod's calls per this many ms make its `timeline`. */
const timelineStep = 1_000;
/** The most numbers in all timelines together, some 400 MB. */
const mostSteps = 5e7;

/** One run: the clients, the pods, and what is going to happen. */
export class World {
  readonly scenario: FullScenario;
  readonly network: number;
  readonly pods: Pod[] = [];
  readonly clients: readonly Client[];
  now = 0;
  /** Times of the counted calls that were served, in order of their end. */
  readonly latencies: Float64Array;
  served = 0;
  failed = 0;
  attempts = 0;
  /** Attempts per pod and second. */
  readonly timelines: number[][] = [];
  readonly #queue = new EventQueue();
  readonly #reference: Reference | undefined;
  readonly #gap: Sampler;
  readonly #scale: number;
  readonly #demand: Sampler;
  readonly #clientOf: () => number;
  readonly #keyOf: (() => string) | undefined;
  readonly #delay: () => number;
  readonly #free: Call[] = [];
  readonly #arrival: SimEvent = { fire: () => this.#arrive() };
  #issued = 0;
  #ended = 0;
  #live: Pod[] = [];
  /** What each live pod should have received so far if all were equal. */
  #evenShare = 0;

  constructor(scenario: FullScenario, driver: Driver) {
    this.scenario = scenario;
    this.network = scenario.network;
    this.latencies = new Float64Array(scenario.requests);
    // Streams of their own, so that every policy meets the same calls at the same times.
    const stream = (number: number): (() => number) => seeded(mix32(scenario.seed * 16 + number));
    this.#gap = sampler(scenario.arrivals, stream(1));
    this.#demand = sampler(scenario.service, stream(2));
    const who = stream(3);
    this.#clientOf = () => Math.floor(who() * scenario.clients);
    const key = stream(4);
    if (scenario.keys > 0) {
      const keys = Array.from({ length: scenario.keys }, (_, i) => `key ${i}`);
      this.#keyOf = () => keys[Math.floor(key() * keys.length)] as string;
    }
    const late = stream(5);
    this.#delay = () => late() * scenario.discoveryDelay;
    let capacity = 0;
    for (let i = 0; i < scenario.pods; i++) capacity += this.addPod().usualSpeed * scenario.workers;
    const gap = this.#demand.mean / (capacity * scenario.utilisation);
    this.#scale = scenario.arrivals.kind === 'trace' ? 1 : gap / this.#gap.mean;
    if (driver === 'ideal') this.#reference = new CentralQueue(this);
    if (driver === 'oracle') this.#reference = new ShortestQueue(this, stream(6));
    this.clients =
      typeof driver === 'string'
        ? []
        : Array.from({ length: scenario.clients }, (_, i) => {
            const zones = scenario.clientZones;
            const random = seeded(mix32(scenario.seed * 1_000_003 + i + 17));
            return new Client(this, driver, random, zones?.[i % zones.length]);
          });
    this.#tell(false);
    schedule(this, scenario.happenings);
  }

  /** Pods that take calls. */
  get live(): readonly Pod[] {
    return this.#live;
  }

  schedule(time: number, event: SimEvent): void {
    this.#queue.push(time, event);
  }

  /** Runs until every call has ended; `onProgress` hears of it now and then. */
  run(onProgress?: (ended: number) => void): void {
    const { requests } = this.scenario;
    const step = Math.max(1, Math.floor(requests / 100));
    let next = step;
    this.schedule(this.#gap.draw() * this.#scale, this.#arrival);
    while (this.#ended < requests) {
      const { time } = this.#queue;
      const event = this.#queue.pop();
      if (event === undefined) throw new Error('simulate: nothing is left to happen, and calls wait');
      this.now = time;
      event.fire();
      if (this.#ended >= next) {
        next += step;
        onProgress?.(this.#ended);
      }
    }
    for (const pod of this.#live) pod.expected = this.#evenShare - pod.expectedBefore;
  }

  addPod(): Pod {
    const { scenario, pods } = this;
    const index = pods.length;
    const at = endpoint({
      address: `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`,
      id: `pod-${index}`,
      name: `pod-${index}`,
      ...(scenario.podZones && { zone: scenario.podZones[index % scenario.podZones.length] as string }),
      ...(scenario.weights && { weight: scenario.weights[index % scenario.weights.length] as number }),
    });
    const speed = scenario.speeds[index % scenario.speeds.length] as number;
    const pod = new Pod(this, index, at, scenario.workers, speed);
    pod.expectedBefore = this.#evenShare;
    pods.push(pod);
    this.timelines.push([]);
    this.#live = [...this.#live, pod];
    return pod;
  }

  removePod(pod: Pod): void {
    if (!this.#live.includes(pod)) return;
    this.#live = this.#live.filter((other) => other !== pod);
    if (this.#live.length === 0)
      throw new RangeError(`simulate: no pod is left at ${this.now} ms: let others join before`);
    pod.expected = this.#evenShare - pod.expectedBefore;
  }

  /** Clients hear of the set as it is now, each after a delay of its own. */
  announce(): void {
    this.#tell(true);
  }

  attempted(pod: Pod): void {
    this.attempts++;
    pod.received++;
    this.#evenShare += 1 / this.#live.length;
    const timeline = this.timelines[pod.index] as number[];
    const second = Math.floor(this.now / timelineStep);
    if (timeline.length <= second) this.#lengthen(timeline, second);
    timeline[second] = (timeline[second] as number) + 1;
  }

  #lengthen(timeline: number[], second: number): void {
    if (second * this.pods.length > mostSteps)
      throw new RangeError(
        `simulate: ${second} s of ${this.pods.length} pods are more than can be recorded: scale all times down`,
      );
    while (timeline.length <= second) timeline.push(0);
  }

  /** A worker of the pod is idle. */
  freed(pod: Pod): void {
    this.#reference?.freed?.(pod);
  }

  end(call: Call): void {
    if (call.counted) {
      if (call.failed) this.failed++;
      else this.latencies[this.served++] = this.now - call.arrived;
    }
    call.tried.clear();
    this.#ended++;
    this.#free.push(call);
  }

  #arrive(): void {
    const { scenario } = this;
    const call = this.#free.pop() ?? new Call(this);
    call.counted = this.#issued >= Math.floor(scenario.requests * scenario.warmup);
    call.demand = this.#demand.draw();
    call.arrived = call.started = this.now;
    call.retries = scenario.retries;
    call.hashKey = this.#keyOf?.();
    const client = this.#clientOf();
    if (++this.#issued < scenario.requests)
      this.schedule(this.now + this.#gap.draw() * this.#scale, this.#arrival);
    if (this.#reference !== undefined) {
      this.#reference.send(call);
    } else {
      call.client = this.clients[client] as Client;
      call.client.send(call);
    }
  }

  #tell(delayed: boolean): void {
    const pods = this.#live;
    const { view } = this.scenario;
    const byId = new Map(pods.map((pod) => [pod.endpoint.id, pod]));
    const endpoints = pods.map((pod) => pod.endpoint);
    this.clients.forEach((client, index) => {
      const seen = view === undefined ? pods : chosenBy(view(index, endpoints), byId);
      if (seen.length === 0 && !delayed)
        throw new RangeError(`simulate: option view shows client ${index} none of the pods`);
      const fire = (): void => client.see(seen);
      const delay = delayed ? this.#delay() : 0;
      if (delay === 0) fire();
      else this.schedule(this.now + delay, { fire });
    });
  }
}

function chosenBy(chosen: readonly Endpoint[], byId: ReadonlyMap<string, Pod>): readonly Pod[] {
  if (!Array.isArray(chosen))
    throw new TypeError('simulate: option view must return an array of the endpoints it was given');
  return chosen.flatMap(({ id }: Endpoint) => byId.get(id) ?? []);
}
