import type { Dispatcher } from 'undici';
import { BackendStats } from '../core/backend.ts';
import type { Cancel, Clock } from '../core/clock.ts';
import { addressOf, type Endpoint } from '../core/endpoint.ts';
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
  #closing: Promise<void> | undefined;

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
    return this.#closing !== undefined;
  }

  /** How errors and events name it: the pod's name where known. */
  get label(): string {
    const { name, address, port } = this.endpoint;
    return name === undefined ? addressOf(address, port) : `${name} (${addressOf(address, port)})`;
  }

  /** Closes idle sockets at once, lets calls in flight finish for `timeout` ms, and then destroys what is left. */
  drain(clock: Clock, timeout: number): Promise<void> {
    this.#closing ??= this.#drain(clock, timeout);
    return this.#closing;
  }

  /** Drains the dispatcher and makes a new one when it is next needed. */
  reconnect(clock: Clock, timeout: number): void {
    const old = this.#dispatcher;
    this.#dispatcher = undefined;
    if (old !== undefined) void drained(old, clock, timeout);
  }

  /** Cuts the calls in flight. */
  destroy(): void {
    void this.#dispatcher?.destroy().catch(() => {});
  }

  async #drain(clock: Clock, timeout: number): Promise<void> {
    this.circuit?.close();
    if (this.#dispatcher !== undefined) await drained(this.#dispatcher, clock, timeout);
  }
}

async function drained(dispatcher: Dispatcher, clock: Clock, timeout: number): Promise<void> {
  let cancel: Cancel = () => {};
  if (timeout > 0 && timeout !== Number.POSITIVE_INFINITY) {
    cancel = clock.schedule(timeout, () => void dispatcher.destroy().catch(() => {}));
  } else if (timeout === 0) {
    void dispatcher.destroy().catch(() => {});
  }
  try {
    // Rejects when destroyed meanwhile, which is the end we want as well.
    await dispatcher.close().catch(() => {});
  } finally {
    cancel();
  }
}
