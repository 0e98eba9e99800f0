import type { Dispatcher } from 'undici';
import { BackendStats } from '../core/backend.ts';
import { afterTwoTurns, type Clock, type Random } from '../core/clock.ts';
import { addressOf, type Endpoint } from '../core/endpoint.ts';
import type { Outcome } from '../core/outcome.ts';
import type { Circuit, CircuitState } from '../health/circuit.ts';

/** A backend that calls can be sent to: its accounting, its dispatcher and its circuit, each made when first needed. */
export class LiveBackend extends BackendStats {
  /** Made by the first failure; a backend that never failed has none. */
  circuit: Circuit | undefined;
  /** The state its service last told of. */
  circuitState: CircuitState = 'closed';
  /** Calls that began, and how many of them failed; for `snapshot()`. */
  calls = 0;
  failures = 0;
  #connect: (endpoint: Endpoint) => Dispatcher;
  #dispatcher: Dispatcher | undefined;
  #draining = false;
  #closing: Promise<void> | undefined;
  /** Dispatchers that were replaced, each until its calls have ended. */
  readonly #replaced = new Map<Dispatcher, Promise<void>>();
  /** When the connections of a sole endpoint are renewed. */
  #renewal = Number.POSITIVE_INFINITY;
  readonly #unused = Promise.withResolvers<void>();

  constructor(endpoint: Endpoint, clock: Clock, connect: (endpoint: Endpoint) => Dispatcher) {
    super(endpoint, clock);
    this.#connect = connect;
  }

  get dispatcher(): Dispatcher {
    this.#dispatcher ??= this.#connect(this.endpoint);
    return this.#dispatcher;
  }

  get connected(): boolean {
    return this.#dispatcher !== undefined;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** How errors and events name it: the pod's name where known. */
  get label(): string {
    const { name, address, port } = this.endpoint;
    return name === undefined ? addressOf(address, port) : `${name} (${addressOf(address, port)})`;
  }

  /** Closes idle sockets at once, lets calls in flight finish for `timeout` ms, and then destroys what is left. */
  drain(clock: Clock, timeout: number): Promise<void> {
    // Before anything is cut: what ends by that is no failure of this backend.
    this.#draining = true;
    this.#closing ??= this.#drain(clock, timeout);
    return this.#closing;
  }

  /**
   * Makes a new dispatcher when one is next needed. The old one ends with its calls, however long they last: nothing is
   * wrong with them.
   */
  reconnect(clock: Clock): void {
    const old = this.#dispatcher;
    this.#dispatcher = undefined;
    if (old === undefined) return;
    const gone = drained(old, clock, Number.POSITIVE_INFINITY, new Promise(() => {})).then(() => {
      this.#replaced.delete(old);
    });
    this.#replaced.set(old, gone);
  }

  /** Renews the connections when they are older than `age` ms, ±10 %: a virtual IP chooses per connection. */
  renew(age: number, clock: Clock, random: Random): void {
    const now = clock.now();
    if (this.connected && now < this.#renewal) return;
    this.reconnect(clock);
    this.#renewal = now + age * (0.9 + 0.2 * random());
  }

  /** Cuts the calls in flight: they end with the error. */
  destroy(error: Error): void {
    for (const old of this.#replaced.keys()) void destroyed(old, error);
    if (this.#dispatcher !== undefined) void destroyed(this.#dispatcher, error);
  }

  async #drain(clock: Clock, timeout: number): Promise<void> {
    this.circuit?.close();
    if (this.inflight === 0) this.#unused.resolve();
    const all = [...this.#replaced.keys()];
    if (this.#dispatcher !== undefined) all.push(this.#dispatcher);
    await Promise.all(all.map((each) => drained(each, clock, timeout, this.#unused.promise)));
  }

  override end(outcome: Outcome): void {
    super.end(outcome);
    if (this.draining && this.inflight === 0) this.#unused.resolve();
  }
}

/**
 * Never rejects, and never takes longer than `timeout` ms, whatever the dispatcher does. Once it is unused, what it
 * still waits for are connections that nobody wants any more.
 */
async function drained(
  dispatcher: Dispatcher,
  clock: Clock,
  timeout: number,
  unused: Promise<void>,
): Promise<void> {
  if (timeout === 0) return destroyed(dispatcher);
  const { promise: cut, resolve } = Promise.withResolvers<void>();
  const cancel =
    timeout === Number.POSITIVE_INFINITY
      ? undefined
      : clock.schedule(timeout, () => void destroyed(dispatcher).then(resolve));
  // Rejects when destroyed meanwhile, which is the end we want as well, once it has come.
  const closed = attempted(() => dispatcher.close().catch(() => dispatcher.destroy()));
  // Not at once: the last use ends within the dispatcher's own code.
  void unused.then(() => afterTwoTurns(() => void destroyed(dispatcher).then(resolve)));
  await Promise.race([closed, cut]);
  cancel?.();
}

function destroyed(dispatcher: Dispatcher, error: Error | null = null): Promise<void> {
  return attempted(() => dispatcher.destroy(error));
}

/** Somebody else's dispatcher may throw or reject; there is nobody left to tell. */
async function attempted(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch {
    // Gone either way.
  }
}
