import type { Dispatcher } from 'undici';
import type { Clock, Random } from '../core/clock.ts';
import { distinct, type Endpoint, sameEndpoint } from '../core/endpoint.ts';
import { Circuit, type CircuitState } from '../health/circuit.ts';
import { inPanic, maxEjected } from '../health/ejection.ts';
import { LiveBackend } from './backend.ts';
import type { Settings } from './settings.ts';

export interface EndpointSnapshot {
  readonly endpoint: Endpoint;
  /** `active` gets calls, `ejected` does not for now, `draining` has been removed and finishes its calls. */
  readonly state: 'active' | 'ejected' | 'draining';
  readonly circuit: CircuitState;
  readonly inflight: number;
  /** ms, decaying peak */
  readonly latency: number | undefined;
  /** ms since it was first seen */
  readonly age: number;
  /** Attempts so far, and how many of them failed. */
  readonly calls: number;
  readonly failures: number;
}

/** What changed with a new set. */
export interface Difference {
  /** The set, each id once. */
  readonly endpoints: readonly Endpoint[];
  readonly added: readonly Endpoint[];
  readonly removed: readonly Endpoint[];
  /** Also when only what is said of an endpoint changed, such as its weight. */
  readonly changed: boolean;
}

export interface FleetContext {
  readonly clock: Clock;
  readonly random: Random;
  settings(): Settings;
  connect(endpoint: Endpoint): Dispatcher;
  ejected(endpoint: Endpoint, duration: number): void;
  restored(endpoint: Endpoint): void;
}

/**
 * The live backends of a service: those of the current set, those that finish their calls, and of the former the
 * eligible ones. Eligibility is worked out when something changes, not when something is picked.
 */
export class Fleet {
  readonly #context: FleetContext;
  readonly #backends = new Map<string, LiveBackend>();
  readonly #draining = new Map<LiveBackend, Promise<void>>();
  #known: readonly LiveBackend[] = [];
  #eligible: readonly LiveBackend[] = [];
  #panic = false;
  /** What ends the calls in flight, once they are not to be waited for. */
  #cut: Error | undefined;

  constructor(context: FleetContext) {
    this.#context = context;
  }

  /** Known endpoints, eligible or not. */
  get size(): number {
    return this.#backends.size;
  }

  /** Whether there is no backend, not even one that finishes its calls. */
  get empty(): boolean {
    return this.#backends.size === 0 && this.#draining.size === 0;
  }

  /** The backends that may be picked; the same array while they are the same, since balancers key their caches by it. */
  get eligible(): readonly LiveBackend[] {
    return this.#eligible;
  }

  /** All of the set, the ejected ones too; the same array as above. */
  get known(): readonly LiveBackend[] {
    return this.#known;
  }

  /** Whether so few endpoints are healthy that health is ignored. */
  get panic(): boolean {
    return this.#panic;
  }

  has(backend: LiveBackend): boolean {
    return this.#backends.get(backend.endpoint.id) === backend;
  }

  /** Makes the backends those of the full set. Work is proportional to the set, and nothing is connected. */
  reconcile(endpoints: readonly Endpoint[]): Difference {
    const added: Endpoint[] = [];
    const removed: Endpoint[] = [];
    const gone: LiveBackend[] = [];
    let retold = false;
    const seen = new Set<string>();
    for (const endpoint of endpoints) {
      const { id } = endpoint;
      if (seen.has(id)) continue;
      seen.add(id);
      const known = this.#backends.get(id);
      if (
        known !== undefined &&
        known.endpoint.address === endpoint.address &&
        known.endpoint.port === endpoint.port
      ) {
        if (sameEndpoint(known.endpoint, endpoint)) continue;
        known.endpoint = endpoint;
        retold = true;
        continue;
      }
      if (known !== undefined) {
        removed.push(known.endpoint);
        gone.push(known);
      }
      added.push(endpoint);
      const { clock } = this.#context;
      this.#backends.set(id, new LiveBackend(endpoint, clock, (at) => this.#context.connect(at)));
    }
    if (seen.size < this.#backends.size) {
      for (const [id, backend] of this.#backends) {
        if (seen.has(id)) continue;
        this.#backends.delete(id);
        removed.push(backend.endpoint);
        gone.push(backend);
      }
    }
    const changed = retold || added.length > 0 || removed.length > 0;
    if (changed) this.#refresh(retold);
    // Behind that: who is told that a call of theirs was cut may make another at once.
    for (const backend of gone) this.#drain(backend);
    const unique = seen.size === endpoints.length ? endpoints : distinct(endpoints);
    return { endpoints: unique, added, removed, changed };
  }

  /** A use that began in `epoch` of the backend's circuit has ended, and says something about its health. */
  judge(backend: LiveBackend, failed: boolean, epoch: number): void {
    if (backend.draining || this.#cut !== undefined) return;
    if (backend.circuit === undefined) {
      const { clock, random } = this.#context;
      const settings = this.#context.settings().endpointCircuit;
      if (settings === false) return;
      backend.circuit = new Circuit(settings, {
        clock,
        random,
        mayOpen: () => this.#ejectedCount() < maxEjected(this.#backends.size),
        onChange: () => this.#circuitChanged(backend),
      });
      backend.circuitState = 'closed';
    }
    const { circuit } = backend;
    if (circuit.epoch !== epoch) return;
    circuit.report(failed);
    if (!failed && circuit.idle) {
      circuit.close();
      backend.circuit = undefined;
    }
  }

  /** The settings have changed; `reconnect`: so has the way to connect. What was learned is kept. */
  update(reconnect: boolean): void {
    const { endpointCircuit } = this.#context.settings();
    for (const backend of this.#backends.values()) {
      if (reconnect) backend.reconnect(this.#context.clock);
      if (endpointCircuit !== false) {
        backend.circuit?.update(endpointCircuit);
      } else if (backend.circuit !== undefined) {
        backend.circuit.close();
        backend.circuit = undefined;
        this.#circuitChanged(backend);
      }
    }
    this.#refresh(false);
  }

  snapshot(): EndpointSnapshot[] {
    return [...this.#backends.values(), ...this.#draining.keys()].map((backend) => {
      const circuit = backend.circuit?.state ?? 'closed';
      const { endpoint, inflight, latency, age, calls, failures } = backend;
      const state = backend.draining ? 'draining' : circuit === 'closed' ? 'active' : 'ejected';
      return { endpoint, state, circuit, inflight, latency, age, calls, failures };
    });
  }

  /** Lets the calls in flight finish for up to `drainTimeout`, and frees everything. */
  async close(): Promise<void> {
    for (const backend of this.#backends.values()) this.#drain(backend);
    this.#backends.clear();
    this.#refresh(false);
    await Promise.all(this.#draining.values());
  }

  /** Cuts the calls in flight, and those that may still begin before everything is closed. */
  destroy(error: Error): void {
    this.#cut = error;
    for (const backend of [...this.#backends.values(), ...this.#draining.keys()]) backend.destroy(error);
  }

  #drain(backend: LiveBackend): void {
    const { clock } = this.#context;
    const drained = backend.drain(clock, this.#context.settings().drainTimeout).then(() => {
      this.#draining.delete(backend);
    });
    this.#draining.set(backend, drained);
    if (this.#cut !== undefined) backend.destroy(this.#cut);
  }

  #ejectedCount(): number {
    let count = 0;
    for (const { circuit } of this.#backends.values())
      if (circuit !== undefined && circuit.state !== 'closed') count++;
    return count;
  }

  #circuitChanged(backend: LiveBackend): void {
    const state = backend.circuit?.state ?? 'closed';
    const before = backend.circuitState;
    backend.circuitState = state;
    this.#refresh(false);
    if (state === 'open' && before !== 'open') {
      // Its idle connections may be as dead as those that failed, and would be what its trial takes.
      backend.reconnect(this.#context.clock);
      this.#context.ejected(backend.endpoint, backend.circuit?.retryAfter ?? 0);
    } else if (state === 'closed' && before !== 'closed') {
      this.#context.restored(backend.endpoint);
    }
  }

  /** `renew`: what is said of the members has changed, so that balancers must look at them anew. */
  #refresh(renew: boolean): void {
    const known = Object.freeze([...this.#backends.values()]);
    this.#known = known;
    const healthy = known.filter(({ circuit }) => circuit === undefined || circuit.admits);
    this.#panic = inPanic(healthy.length, known.length, this.#context.settings().panicThreshold);
    // However unhealthy, there must be one to pick.
    const eligible = this.#panic || healthy.length === 0 ? known : healthy;
    const same =
      eligible.length === this.#eligible.length &&
      eligible.every((backend, i) => backend === this.#eligible[i]);
    // Frozen: a balancer that sorts or empties it in place would spoil it for every call after.
    if (!same || renew) this.#eligible = Object.freeze(eligible);
  }
}
