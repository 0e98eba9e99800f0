import { channel } from 'node:diagnostics_channel';
import { types } from 'node:util';
import type { Endpoint } from '../core/endpoint.ts';

/** What a client tells while it runs. `target` is the service's name and port. */
export interface ClientEvents {
  /** The set of endpoints has changed. */
  endpoints: {
    readonly target: string;
    readonly endpoints: readonly Endpoint[];
    readonly added: readonly Endpoint[];
    readonly removed: readonly Endpoint[];
    readonly source: string;
  };
  /** An endpoint's circuit has opened: it gets no calls for `duration` ms. */
  ejected: { readonly target: string; readonly endpoint: Endpoint; readonly duration: number };
  /** An endpoint's circuit has closed again. */
  restored: { readonly target: string; readonly endpoint: Endpoint };
  /** The source cannot confirm the set any more; the last one is kept. `age` in ms since it was confirmed. */
  stale: { readonly target: string; readonly age: number; readonly error: Error };
  /** Something failed in the background. */
  error: { readonly target: string; readonly error: Error };
  /** Something is odd though the set is current. */
  warning: { readonly target: string; readonly warning: Error };
}

export type ClientEvent = keyof ClientEvents;
export type Listener<E extends ClientEvent> = (event: ClientEvents[E]) => void;

const channels = {
  endpoints: channel('steersman:endpoints'),
  ejected: channel('steersman:ejected'),
  restored: channel('steersman:restored'),
  stale: channel('steersman:stale'),
  error: channel('steersman:error'),
  warning: channel('steersman:warning'),
} as const;

/**
 * Listeners by event; every event also goes to the diagnostics channel `steersman:<event>`. A listener that throws,
 * or whose promise rejects, disturbs neither the others nor the calls: its error becomes an `error` event.
 */
export class Events {
  /** By event, with whether it is the next one only that they wait for. */
  readonly #listeners = new Map<ClientEvent, Map<Listener<never>, boolean>>();

  on<E extends ClientEvent>(event: E, listener: Listener<E>): () => void {
    return this.#add(event, listener, false);
  }

  once<E extends ClientEvent>(event: E, listener: Listener<E>): () => void {
    return this.#add(event, listener, true);
  }

  off<E extends ClientEvent>(event: E, listener: Listener<E>): void {
    this.#listeners.get(event)?.delete(listener);
  }

  #add<E extends ClientEvent>(event: E, listener: Listener<E>, once: boolean): () => void {
    if (!Object.hasOwn(channels, event)) {
      throw new TypeError(`no event ${JSON.stringify(event)}: known are ${Object.keys(channels).join(', ')}`);
    }
    if (typeof listener !== 'function') throw new TypeError(`the listener of ${event} must be a function`);
    let listeners = this.#listeners.get(event);
    if (listeners === undefined) this.#listeners.set(event, (listeners = new Map()));
    listeners.set(listener, once);
    return () => this.off(event, listener);
  }

  emit<E extends ClientEvent>(event: E, data: ClientEvents[E]): void {
    if (channels[event].hasSubscribers) channels[event].publish(data);
    for (const [listener, once] of [...(this.#listeners.get(event) ?? [])]) {
      if (once) this.off(event, listener as Listener<E>);
      try {
        const result: unknown = (listener as Listener<E>)(data);
        if (types.isPromise(result)) result.catch((cause) => this.#threw(event, data.target, cause));
      } catch (cause) {
        this.#threw(event, data.target, cause);
      }
    }
  }

  #threw(event: ClientEvent, target: string, cause: unknown): void {
    const error = new Error(`a listener of ${event} threw`, { cause });
    // A listener of errors that throws would call itself.
    if (event === 'error') process.emitWarning(error);
    else this.emit('error', { target, error });
  }
}
