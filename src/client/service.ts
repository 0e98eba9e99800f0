import type { Dispatcher } from 'undici';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import { type Clock, holdProcess, type Random } from '../core/clock.ts';
import { disown } from '../core/disown.ts';
import { addressOf, type Endpoint } from '../core/endpoint.ts';
import {
  CircuitOpenError,
  isError,
  NoEndpointsError,
  OverloadError,
  type ResolveError,
} from '../core/errors.ts';
import type { Release } from '../core/outcome.ts';
import type { Resolver } from '../core/resolver.ts';
import { type Target, targetName } from '../core/target.ts';
import type { ServiceIdentity, Transport } from '../core/transport.ts';
import type { CircuitState } from '../health/circuit.ts';
import { ServiceCircuit, type Verdict } from '../health/service-circuit.ts';
import { LiveBackend } from './backend.ts';
import { type Budget, retryBudget, unlimited } from './budget.ts';
import { Call, type CallDispatchOptions } from './call.ts';
import { Deadlines } from './deadlines.ts';
import { Discovery, type Waiter } from './discovery.ts';
import { Events } from './events.ts';
import { type EndpointSnapshot, Fleet } from './fleet.ts';
import { Latencies } from './latencies.ts';
import type { Judge } from './lease.ts';
import { Picker } from './picker.ts';
import type { Settings } from './settings.ts';
import { Upgrades } from './upgrades.ts';

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

/**
 * One service, as its calls see it: a discovery tells the set, a fleet holds a live backend for each endpoint of it,
 * a picker chooses among the eligible ones, and what its calls share is here: budget, circuit, queue, events.
 */
export class Service implements Judge {
  readonly target: Target;
  readonly identity: ServiceIdentity;
  readonly clock: Clock;
  readonly random: Random;
  readonly wallClock: () => number;
  readonly deadlines: Deadlines;
  readonly upgrades: Upgrades = new Upgrades();
  readonly events: Events = new Events();
  /** Hears of each dispatcher that is made for an endpoint. */
  connected: ((dispatcher: Dispatcher) => void) | undefined;
  /** Whether somebody meant to call it since this was last set to false. */
  called = true;
  retries = 0;
  /** Attempts that wait for a connection. */
  connecting = 0;
  readonly #discovery: Discovery;
  readonly #fleet: Fleet;
  readonly #picker: Picker;
  readonly #latencies = new Latencies();
  #circuit: ServiceCircuit | undefined;
  #parts: ServiceParts;
  #budget: Budget;
  #closing: Promise<void> | undefined;

  constructor(target: Target, identity: ServiceIdentity, parts: ServiceParts) {
    const { clock, random, wallClock } = parts;
    const { events } = this;
    const name = targetName(target);
    const settings = (): Settings => this.#parts.settings;
    this.target = target;
    this.identity = identity;
    this.clock = clock;
    this.random = random;
    this.wallClock = wallClock;
    this.deadlines = Deadlines.of(clock);
    this.#parts = parts;
    this.#budget = budgetOf(parts.settings);
    this.#circuit = this.#circuitOf(parts.settings);
    this.#fleet = new Fleet({
      clock,
      random,
      settings,
      connect: (endpoint) => this.#connect(endpoint),
      ejected: (endpoint, duration) => events.emit('ejected', { target: name, endpoint, duration }),
      restored: (endpoint) => events.emit('restored', { target: name, endpoint }),
    });
    this.#picker = new Picker(this.#fleet, {
      target,
      random,
      settings,
      balancer: () => this.#parts.balancer,
      balancerFailed: (error) => this.balancerFailed(error),
    });
    this.#discovery = new Discovery({
      target,
      clock,
      events,
      settings,
      resolver: () => this.#parts.resolver,
      apply: (endpoints) => this.#fleet.reconcile(endpoints),
    });
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
    return this.#discovery.resolved;
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Known endpoints, eligible or not. */
  get size(): number {
    return this.#fleet.size;
  }

  /** Nothing is here: no endpoint, no call, no upgraded connection. */
  get hollow(): boolean {
    return this.#fleet.empty && this.#discovery.waiting === 0 && this.upgrades.size === 0;
  }

  /** The last thing that went wrong with the source; undefined while it is well. */
  get lastError(): Error | undefined {
    return this.#discovery.lastError;
  }

  /** Sends one call; what becomes of it goes to the handler. */
  dispatch(options: CallDispatchOptions, handler: Dispatcher.DispatchHandler): void {
    if (this.closed) {
      handler.onResponseError?.(null as never, this.#discovery.closedError());
      return;
    }
    this.#discovery.start();
    new Call(this, options, handler).start();
  }

  /** Starts the watch, unless it runs. */
  start(): void {
    if (!this.closed) this.#discovery.start();
  }

  /** Whether a new call may begin: what is returned hears of its end, where somebody wants to know. */
  admit(): ((verdict: Verdict) => void) | Error | undefined {
    const { totalQueue } = this.settings;
    if (this.#discovery.waiting + this.connecting >= totalQueue) {
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
    return this.#discovery.wait(waiter);
  }

  /** Resolves when the first set is there; rejects after the resolve timeout, or with the signal's reason. */
  async ready(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.closed) throw this.#discovery.closedError();
    await this.#discovery.ready(signal);
  }

  /** The error of a call that has waited for the first set in vain. */
  unresolved(): ResolveError {
    return this.#discovery.unresolved();
  }

  /**
   * A backend for one attempt, or the error that says why there is none. Never throws. `stranded`: one that is ejected
   * will do.
   */
  pick(request: PickRequest, stranded = false): LiveBackend | Error {
    if (this.#fleet.eligible.length === 0) {
      const why = this.#discovery.whyEmpty();
      return new NoEndpointsError(`no endpoints for ${targetName(this.target)}: ${why}`, this.target);
    }
    const picked = this.#picker.pick(request, stranded);
    if (this.#fleet.size === 1 && picked instanceof LiveBackend) this.#renew(picked);
    return picked;
  }

  /** Whether there is an eligible backend that is none of these; `stranded`: or an ejected one. */
  leaves(tried: ReadonlySet<unknown>, stranded = false): boolean {
    return this.#picker.leaves(tried, stranded);
  }

  begin(backend: LiveBackend): Release | undefined {
    return this.#picker.begin(backend);
  }

  balancerFailed(cause: unknown): void {
    const target = targetName(this.target);
    this.events.emit('error', { target, error: new Error(`the balancer of ${target} threw`, { cause }) });
  }

  report(backend: LiveBackend, failed: boolean, epoch: number): void {
    this.#fleet.judge(backend, failed, epoch);
  }

  /** A connection could not be made: the set may be out of date. */
  connectFailed(): void {
    this.#discovery.refresh();
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
    this.#fleet.update(parts.transport !== before.transport);
    if (parts.resolver !== before.resolver) this.#discovery.restart();
  }

  snapshot(): ServiceSnapshot {
    const { info, resolved, staleFor } = this.#discovery;
    return {
      target: targetName(this.target),
      source: info?.source,
      resourceVersion: info?.resourceVersion,
      resolved,
      stale: staleFor !== undefined,
      age: staleFor ?? 0,
      retries: this.retries,
      panic: this.#fleet.panic,
      circuit: this.#circuit?.state ?? 'closed',
      endpoints: this.#fleet.snapshot(),
    };
  }

  /** Takes no new calls, lets those in flight finish for up to `drainTimeout`, and frees everything. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Closes without waiting for calls in flight: they fail with the error. */
  destroy(error: Error): void {
    void this.close();
    this.#fleet.destroy(error);
    this.upgrades.destroy();
  }

  async #close(): Promise<void> {
    // Behind the assignment of #closing: whoever is told must see a closed service.
    await Promise.resolve();
    // A body that nobody reads keeps no process alive, but whoever awaits this is to hear of its end.
    const release = holdProcess();
    try {
      const stopped = this.#discovery.close();
      this.#circuit?.close();
      const due = this.clock.now() + this.settings.drainTimeout;
      await Promise.all([stopped, this.#fleet.close()]);
      await this.upgrades.drain(this.clock, due - this.clock.now());
      this.deadlines.rest();
    } finally {
      release();
    }
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
      throw failed(isError(cause) ? cause.message : String(cause), cause);
    }
    for (const method of ['dispatch', 'close', 'destroy'] as const) {
      if (typeof dispatcher?.[method] === 'function') continue;
      disown(dispatcher);
      throw failed(`it made no Dispatcher with ${method}()`);
    }
    this.connected?.(dispatcher);
    return dispatcher;
  }

  /** What is watched is a pod; any other sole endpoint may be a virtual IP. */
  #renew(backend: LiveBackend): void {
    const { soleConnectionAge } = this.settings;
    if (soleConnectionAge === Number.POSITIVE_INFINITY || this.#discovery.info?.source === 'kubernetes')
      return;
    backend.renew(soleConnectionAge, this.clock, this.random);
  }

  #circuitOf({ serviceCircuit }: Settings): ServiceCircuit | undefined {
    if (serviceCircuit === false) return undefined;
    const { clock, random } = this;
    return new ServiceCircuit(serviceCircuit, { clock, random, onChange: () => {} });
  }
}

function budgetOf({ budget }: Settings): Budget {
  return budget === false ? unlimited : retryBudget(budget.ratio, budget.minPerSecond, budget.window);
}

/** Whether two groups of settings say the same. */
function same(a: object | false, b: object | false): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
