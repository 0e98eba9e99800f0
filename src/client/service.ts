import type { Dispatcher } from 'undici';
import type { Backends } from '../core/backend.ts';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import { type Clock, holdProcess, type Random } from '../core/clock.ts';
import { addressOf, type Endpoint, sameEndpoint } from '../core/endpoint.ts';
import {
  CircuitOpenError,
  ClosedError,
  DiscoveryWarning,
  NoEndpointsError,
  OverloadError,
  ResolveError,
} from '../core/errors.ts';
import type { Release } from '../core/outcome.ts';
import type { Resolver, SetInfo, Watch } from '../core/resolver.ts';
import { type Target, targetName } from '../core/target.ts';
import type { ServiceIdentity, Transport } from '../core/transport.ts';
import { Circuit, type CircuitState } from '../health/circuit.ts';
import { inPanic, maxEjected } from '../health/ejection.ts';
import { ServiceCircuit, type Verdict } from '../health/service-circuit.ts';
import { slowStartShare } from '../health/slow-start.ts';
import { LiveBackend } from './backend.ts';
import { type Budget, retryBudget, unlimited } from './budget.ts';
import { Call, type CallDispatchOptions } from './call.ts';
import { Deadlines } from './deadlines.ts';
import { Events } from './events.ts';
import { Latencies } from './latencies.ts';
import type { Judge } from './lease.ts';
import { setProblem } from './reported-set.ts';
import type { Settings } from './settings.ts';

/** Everything a service is made of; see `client/defaults.ts` for where it comes from. */
export interface ServiceParts {
  readonly resolver: Resolver;
  readonly balancer: Balancer;
  readonly transport: Transport;
  readonly settings: Settings;
  readonly clock: Clock;
  readonly random: Random;
  /** For HTTP dates: ms since 1970. */
  readonly wallClock: () => number;
}

/** Waits for the first set. */
export interface Waiter {
  resolved(): void;
  fail(error: Error): void;
}

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

export interface ServiceSnapshot {
  readonly target: string;
  /** Where the set comes from, e.g. `kubernetes`; undefined before the first set. */
  readonly source: string | undefined;
  readonly resourceVersion: string | undefined;
  /** Whether there is a set at all. */
  readonly resolved: boolean;
  /** Whether the source has failed since it last confirmed the set. */
  readonly stale: boolean;
  /** ms since the set was last known to be current; 0 while it is. */
  readonly age: number;
  /** Retries and hedges so far. */
  readonly retries: number;
  /** Whether so few endpoints are healthy that health is ignored. */
  readonly panic: boolean;
  /** Of the circuit around the whole service; `closed` where there is none. */
  readonly circuit: CircuitState;
  readonly endpoints: readonly EndpointSnapshot[];
}

/** How long after a resolver has refused to start it is asked again, in ms. */
const restartDelay = 1_000;

/**
 * One service: the set its resolver tells, a live backend for each endpoint, and of these the eligible ones that a
 * balancer picks from. Eligibility is worked out when something changes, not when something is picked.
 */
export class Service implements Judge {
  readonly target: Target;
  readonly identity: ServiceIdentity;
  readonly clock: Clock;
  readonly random: Random;
  readonly wallClock: () => number;
  readonly deadlines: Deadlines;
  readonly events: Events = new Events();
  retries = 0;
  /** Attempts that wait for a connection. */
  connecting = 0;
  readonly #latencies = new Latencies();
  #circuit: ServiceCircuit | undefined;
  #parts: ServiceParts;
  #budget: Budget;
  #watch: Watch | undefined;
  #startFailed: { error: ResolveError; at: number } | undefined;
  #generation = 0;
  #resolved = false;
  #info: SetInfo | undefined;
  #lastError: Error | undefined;
  #staleSince: number | undefined;
  readonly #backends = new Map<string, LiveBackend>();
  readonly #draining = new Map<LiveBackend, Promise<void>>();
  #eligible: LiveBackend[] = [];
  /** Those of the eligible that are past their slow start. */
  #settled: LiveBackend[] = [];
  #panic = false;
  readonly #waiters = new Set<Waiter>();
  #closing: Promise<void> | undefined;

  constructor(target: Target, identity: ServiceIdentity, parts: ServiceParts) {
    this.target = target;
    this.identity = identity;
    this.#parts = parts;
    this.clock = parts.clock;
    this.random = parts.random;
    this.wallClock = parts.wallClock;
    this.deadlines = Deadlines.of(parts.clock);
    this.#budget = budgetOf(parts.settings);
    this.#circuit = this.#circuitOf(parts.settings);
  }

  get parts(): ServiceParts {
    return this.#parts;
  }

  get settings(): Settings {
    return this.#parts.settings;
  }

  get budget(): Budget {
    return this.#budget;
  }

  get resolved(): boolean {
    return this.#resolved;
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Known endpoints, eligible or not. */
  get size(): number {
    return this.#backends.size;
  }

  /** The last thing that went wrong with the source; undefined while it is well. */
  get lastError(): Error | undefined {
    return this.#lastError;
  }

  /** Sends one call; what becomes of it goes to the handler. */
  dispatch(options: CallDispatchOptions, handler: Dispatcher.DispatchHandler): void {
    if (this.closed) {
      handler.onResponseError?.(null as never, this.#closedError());
      return;
    }
    this.start();
    new Call(this, options, handler).start();
  }

  /** Starts the watch, unless it runs. */
  start(): void {
    if (this.#watch !== undefined || this.closed) return;
    if (this.#startFailed !== undefined && this.clock.now() - this.#startFailed.at < restartDelay) return;
    const generation = ++this.#generation;
    const current = (): boolean => generation === this.#generation && !this.closed;
    try {
      const watch = this.#parts.resolver.watch(this.target, {
        onEndpoints: (endpoints, info) => {
          if (current()) this.#onEndpoints(endpoints, info);
        },
        onError: (error) => {
          if (current()) this.#onError(error);
        },
      });
      if (typeof watch?.close !== 'function') throw new TypeError('resolver.watch() returned no Watch');
      this.#watch = watch;
      this.#startFailed = undefined;
    } catch (cause) {
      const error = new ResolveError(
        `cannot resolve ${targetName(this.target)}: ${cause instanceof Error ? cause.message : String(cause)}`,
        this.target,
        { cause },
      );
      this.#startFailed = { error, at: this.clock.now() };
      this.#onError(error);
    }
  }

  /** Whether a new call may begin: what is returned hears of its end, where somebody wants to know. */
  admit(): ((verdict: Verdict) => void) | Error | undefined {
    const { totalQueue } = this.settings;
    if (this.#waiters.size + this.connecting >= totalQueue) {
      return new OverloadError(
        `${totalQueue} calls of ${targetName(this.target)} wait already: slow down, or raise queue.total`,
        this.target,
      );
    }
    if (this.#circuit === undefined) return undefined;
    const admitted = this.#circuit.admit();
    if (admitted !== undefined) return admitted;
    const { retryAfter } = this.#circuit;
    return new CircuitOpenError(
      `the circuit of ${targetName(this.target)} is open: come back in ${Math.ceil(retryAfter)} ms`,
      this.target,
      retryAfter,
    );
  }

  /** Notes how long an answer took, in ms, for the percentile after which calls are hedged. */
  measured(latency: number): void {
    const { hedge } = this.settings;
    if (hedge !== false && hedge.percentile !== undefined) this.#latencies.note(latency, this.clock.now());
  }

  /** ms after which a call that began at `now` is hedged. */
  hedgeDelay(now: number): number {
    const { hedge } = this.settings;
    if (hedge === false) return Number.POSITIVE_INFINITY;
    const { delay, percentile } = hedge;
    if (percentile === undefined) return delay ?? Number.POSITIVE_INFINITY;
    const measured = this.#latencies.percentile(percentile, now);
    return measured === undefined ? (delay ?? Number.POSITIVE_INFINITY) : Math.max(measured, delay ?? 0);
  }

  /** Tells the waiter of the first set, or of what keeps it away; the returned function takes it back. */
  wait(waiter: Waiter): () => void {
    // Asked for again by each newcomer, and told at once: it will not get better by waiting.
    if (this.#lastError instanceof ResolveError && !this.#resolved) {
      const error = this.#lastError;
      queueMicrotask(() => {
        if (this.#waiters.delete(waiter)) waiter.fail(error);
      });
    }
    this.#waiters.add(waiter);
    return () => {
      this.#waiters.delete(waiter);
    };
  }

  /** Resolves when the first set is there; rejects after the resolve timeout, or with the signal's reason. */
  async ready(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.closed) throw this.#closedError();
    this.start();
    if (this.#resolved) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const leave = this.wait({ resolved: resolve, fail: reject });
    const cancel =
      this.settings.resolve === Number.POSITIVE_INFINITY
        ? undefined
        : this.clock.schedule(this.settings.resolve, () => reject(this.unresolved()));
    const onAbort = (): void => reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const release = holdProcess();
    try {
      await promise;
    } finally {
      leave();
      cancel?.();
      release();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** The error of a call that has waited for the first set in vain. */
  unresolved(): ResolveError {
    const cause = this.#lastError;
    if (cause instanceof ResolveError) return cause;
    const why = cause === undefined ? 'the resolver has reported nothing' : cause.message;
    return new ResolveError(
      `cannot resolve ${targetName(this.target)} in ${this.settings.resolve} ms: ${why}`,
      this.target,
      { cause },
    );
  }

  /** A backend for one attempt, or the error that says why there is none. Never throws. */
  pick(request: PickRequest): LiveBackend | Error {
    const eligible = this.#eligible;
    if (eligible.length === 0) {
      return new NoEndpointsError(
        `no endpoints for ${targetName(this.target)}: ${this.#whyEmpty()}`,
        this.target,
      );
    }
    let picked = this.#pickFrom(eligible, request);
    if (this.settings.slowStart !== 0 && picked instanceof LiveBackend) {
      picked = this.#slowStart(picked, request);
    }
    if (picked instanceof LiveBackend && this.#full(picked)) picked = this.#pickFree(request);
    if (this.#backends.size === 1 && picked instanceof LiveBackend) this.#renew(picked);
    return picked;
  }

  /** What is watched is a pod; any other sole endpoint may be a virtual IP. */
  #renew(backend: LiveBackend): void {
    const { soleConnectionAge, drainTimeout } = this.settings;
    if (soleConnectionAge === Number.POSITIVE_INFINITY || this.#info?.source === 'kubernetes') return;
    backend.renew(soleConnectionAge, this.clock, this.random, drainTimeout);
  }

  /** Whether there is an eligible backend that is none of these. */
  leaves(tried: ReadonlySet<unknown>): boolean {
    return this.#eligible.length > tried.size || this.#eligible.some((backend) => !tried.has(backend));
  }

  begin(backend: LiveBackend): Release | undefined {
    const { balancer } = this.#parts;
    if (balancer.begin === undefined) return undefined;
    try {
      return balancer.begin(backend);
    } catch (error) {
      this.balancerFailed(error);
      return undefined;
    }
  }

  balancerFailed(cause: unknown): void {
    const error = new Error(`the balancer of ${targetName(this.target)} threw`, { cause });
    this.events.emit('error', { target: targetName(this.target), error });
  }

  report(backend: LiveBackend, failed: boolean, epoch: number): void {
    if (backend.draining) return;
    if (backend.circuit === undefined) {
      const settings = this.settings.endpointCircuit;
      if (settings === false) return;
      backend.circuit = new Circuit(settings, {
        clock: this.clock,
        random: this.random,
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

  /** A connection could not be made: the set may be out of date. */
  connectFailed(): void {
    try {
      this.#watch?.refresh();
    } catch (error) {
      this.#onError(error);
    }
  }

  /** Takes new parts for a running service; what was learned of the endpoints is kept. */
  update(parts: ServiceParts): void {
    const before = this.#parts;
    this.#parts = parts;
    const { settings } = parts;
    if (!same(settings.budget, before.settings.budget)) this.#budget = budgetOf(settings);
    if (!same(settings.serviceCircuit, before.settings.serviceCircuit)) {
      this.#circuit?.close();
      this.#circuit = this.#circuitOf(settings);
    }
    if (parts.transport !== before.transport) {
      for (const backend of this.#backends.values())
        backend.reconnect(this.clock, this.settings.drainTimeout);
    }
    for (const backend of this.#backends.values()) {
      if (settings.endpointCircuit === false) {
        backend.circuit?.close();
        backend.circuit = undefined;
        backend.circuitState = 'closed';
      } else {
        backend.circuit?.update(settings.endpointCircuit);
      }
    }
    if (parts.resolver !== before.resolver && this.#watch !== undefined) {
      void this.#closeWatch();
      this.start();
    }
    this.#refreshEligible();
  }

  snapshot(): ServiceSnapshot {
    const endpoints: EndpointSnapshot[] = [];
    for (const backend of [...this.#backends.values(), ...this.#draining.keys()]) {
      const circuit = backend.circuit?.state ?? 'closed';
      endpoints.push({
        endpoint: backend.endpoint,
        state: backend.draining ? 'draining' : circuit === 'closed' ? 'active' : 'ejected',
        circuit,
        inflight: backend.inflight,
        latency: backend.latency,
        age: backend.age,
        calls: backend.calls,
        failures: backend.failures,
      });
    }
    return {
      target: targetName(this.target),
      source: this.#info?.source,
      resourceVersion: this.#info?.resourceVersion,
      resolved: this.#resolved,
      stale: this.#staleSince !== undefined,
      age: this.#staleSince === undefined ? 0 : this.clock.now() - this.#staleSince,
      retries: this.retries,
      panic: this.#panic,
      circuit: this.#circuit?.state ?? 'closed',
      endpoints,
    };
  }

  /** Takes no new calls, lets those in flight finish for up to `drainTimeout`, and frees everything. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Closes without waiting for calls in flight: they fail. */
  destroy(): void {
    const backends = [...this.#backends.values(), ...this.#draining.keys()];
    void this.close();
    for (const backend of backends) backend.destroy();
  }

  async #close(): Promise<void> {
    // Behind the assignment of #closing: whoever is told must see a closed service.
    await Promise.resolve();
    for (const waiter of [...this.#waiters]) waiter.fail(this.#closedError());
    this.#waiters.clear();
    this.#circuit?.close();
    for (const backend of this.#backends.values()) this.#drain(backend);
    this.#backends.clear();
    this.#refreshEligible();
    await Promise.all([this.#closeWatch(), ...this.#draining.values()]);
    this.deadlines.rest();
  }

  async #closeWatch(): Promise<void> {
    const watch = this.#watch;
    this.#watch = undefined;
    this.#generation++;
    try {
      await watch?.close();
    } catch (cause) {
      const error = new Error(`the watch of ${targetName(this.target)} failed to close`, { cause });
      this.events.emit('error', { target: targetName(this.target), error });
    }
  }

  #onEndpoints(endpoints: readonly Endpoint[], info: SetInfo | undefined): void {
    const problem = setProblem(endpoints);
    if (problem !== undefined) {
      this.#onError(new TypeError(`the resolver of ${targetName(this.target)} reported ${problem}`));
      return;
    }
    this.#info = info ?? { source: 'custom' };
    this.#lastError = undefined;
    this.#staleSince = undefined;
    const { added, removed, changed } = this.#reconcile(endpoints);
    const first = !this.#resolved;
    this.#resolved = true;
    if (added.length > 0 || removed.length > 0) this.#refreshEligible();
    if (first || changed) {
      const { source } = this.#info;
      this.events.emit('endpoints', { target: targetName(this.target), endpoints, added, removed, source });
    }
    if (!first) return;
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.resolved();
  }

  #onError(reported: unknown): void {
    const error = reported instanceof Error ? reported : new Error(String(reported));
    const target = targetName(this.target);
    if (error instanceof DiscoveryWarning) {
      this.events.emit('warning', { target, warning: error });
      return;
    }
    this.#lastError = error;
    this.events.emit('error', { target, error });
    if (this.#resolved) {
      this.#staleSince ??= this.clock.now();
      this.events.emit('stale', { target, age: this.clock.now() - this.#staleSince, error });
    } else if (error instanceof ResolveError) {
      const waiters = [...this.#waiters];
      this.#waiters.clear();
      for (const waiter of waiters) waiter.fail(error);
    }
  }

  /** Makes the backends those of the full set. Work is proportional to the set, and nothing is connected. */
  #reconcile(endpoints: readonly Endpoint[]): { added: Endpoint[]; removed: Endpoint[]; changed: boolean } {
    const added: Endpoint[] = [];
    const removed: Endpoint[] = [];
    let changed = false;
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
        if (!sameEndpoint(known.endpoint, endpoint)) {
          known.endpoint = endpoint;
          changed = true;
        }
        continue;
      }
      if (known !== undefined) {
        removed.push(known.endpoint);
        this.#drain(known);
      }
      added.push(endpoint);
      this.#backends.set(id, new LiveBackend(endpoint, this.clock, (at) => this.#connect(at)));
    }
    if (seen.size < this.#backends.size) {
      for (const [id, backend] of this.#backends) {
        if (seen.has(id)) continue;
        this.#backends.delete(id);
        removed.push(backend.endpoint);
        this.#drain(backend);
      }
    }
    changed ||= added.length > 0 || removed.length > 0;
    if (changed && added.length === 0 && removed.length === 0) this.#refreshEligible(true);
    return { added, removed, changed };
  }

  #connect(endpoint: Endpoint): Dispatcher {
    const failed = (why: string, cause?: unknown): NoEndpointsError =>
      new NoEndpointsError(
        `the transport of ${targetName(this.target)} failed for ${addressOf(endpoint.address, endpoint.port)}: ${why}`,
        this.target,
        { cause },
      );
    let dispatcher: Dispatcher;
    try {
      dispatcher = this.#parts.transport(this.identity, endpoint);
    } catch (cause) {
      throw failed(cause instanceof Error ? cause.message : String(cause), cause);
    }
    for (const method of ['dispatch', 'close', 'destroy'] as const) {
      if (typeof dispatcher?.[method] !== 'function') throw failed(`it made no Dispatcher with ${method}()`);
    }
    return dispatcher;
  }

  #drain(backend: LiveBackend): void {
    const drained = backend.drain(this.clock, this.settings.drainTimeout).then(() => {
      this.#draining.delete(backend);
    });
    this.#draining.set(backend, drained);
  }

  #pickFrom(eligible: readonly LiveBackend[], request: PickRequest): LiveBackend | Error {
    let picked: unknown;
    try {
      picked = this.#parts.balancer.pick(eligible as unknown as Backends, request);
    } catch (cause) {
      this.balancerFailed(cause);
      return this.#noPick(`the balancer threw ${String(cause)}`, cause);
    }
    if (picked instanceof LiveBackend && this.#backends.get(picked.endpoint.id) === picked) return picked;
    const error = new TypeError('the balancer picked a backend outside the set');
    this.balancerFailed(error);
    return this.#noPick(error.message, error);
  }

  /** Whether as many calls wait for a connection of this backend as may. */
  #full(backend: LiveBackend): boolean {
    return backend.inflight >= this.settings.endpointLimit;
  }

  /** The balancer's choice is full: another that is not, or the error that says that all are. */
  #pickFree(request: PickRequest): LiveBackend | Error {
    const full = this.#eligible.filter((backend) => this.#full(backend));
    if (full.length === this.#eligible.length) {
      return new OverloadError(
        `${this.settings.endpointLimit} calls use or wait for the connections of each endpoint of ${targetName(this.target)}: ` +
          'slow down, or raise pool.connections or queue.endpoint',
        this.target,
      );
    }
    const { hashKey } = request;
    const tried = new Set([...(request.tried ?? []), ...full]);
    const picked = this.#pickFrom(this.#eligible, hashKey === undefined ? { tried } : { hashKey, tried });
    if (picked instanceof LiveBackend && this.#full(picked)) {
      return this.#eligible.find((backend) => !this.#full(backend)) ?? picked;
    }
    return picked;
  }

  #noPick(why: string, cause: unknown): NoEndpointsError {
    return new NoEndpointsError(`no endpoint picked for ${targetName(this.target)}: ${why}`, this.target, {
      cause,
    });
  }

  /** A new backend gives most of its picks back to the others at first, and fewer as it ages. */
  #slowStart(picked: LiveBackend, request: PickRequest): LiveBackend | Error {
    const window = this.settings.slowStart;
    const share = slowStartShare(picked.age, window);
    if (share >= 1 || this.random() < share) return picked;
    const grown = this.#eligible.filter((backend) => backend.age >= window);
    // They only get more until the set changes: as many are the same, and balancers cache by the array.
    if (grown.length !== this.#settled.length) this.#settled = grown;
    return grown.length === 0 ? picked : this.#pickFrom(this.#settled, request);
  }

  #whyEmpty(): string {
    const source = this.#info?.source ?? 'the resolver';
    return this.#staleSince === undefined
      ? (this.#info?.note ?? `${source} says it has none`)
      : `${source} failed since: ${this.#lastError?.message}`;
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
    this.#refreshEligible();
    const { endpoint } = backend;
    const target = targetName(this.target);
    if (state === 'open' && before !== 'open') {
      this.events.emit('ejected', { target, endpoint, duration: backend.circuit?.retryAfter ?? 0 });
    } else if (state === 'closed' && before !== 'closed') {
      this.events.emit('restored', { target, endpoint });
    }
  }

  /** Keeps the array when its members are the same, since balancers key their caches by it. */
  #refreshEligible(renew = false): void {
    const known = [...this.#backends.values()];
    const healthy = known.filter(({ circuit }) => circuit === undefined || circuit.admits);
    this.#panic = inPanic(healthy.length, known.length, this.settings.panicThreshold);
    // However unhealthy, there must be one to pick.
    const eligible = this.#panic || healthy.length === 0 ? known : healthy;
    const same =
      eligible.length === this.#eligible.length &&
      eligible.every((backend, i) => backend === this.#eligible[i]);
    if (same && !renew) return;
    this.#eligible = eligible;
    this.#settled = [];
  }

  #circuitOf({ serviceCircuit }: Settings): ServiceCircuit | undefined {
    if (serviceCircuit === false) return undefined;
    const { clock, random } = this;
    return new ServiceCircuit(serviceCircuit, { clock, random, onChange: () => {} });
  }

  #closedError(): ClosedError {
    return new ClosedError(`the client of ${targetName(this.target)} is closed`, this.target);
  }
}

function budgetOf({ budget }: Settings): Budget {
  return budget === false ? unlimited : retryBudget(budget.ratio, budget.minPerSecond, budget.window);
}

/** Whether two groups of settings say the same. */
function same(a: object | false, b: object | false): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
