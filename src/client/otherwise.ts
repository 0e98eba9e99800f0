import type { Dispatcher } from 'undici';
import { modernHandler } from '../undici/handler.ts';
import { Agent, getGlobalDispatcher } from '../undici/index.ts';
import { platformSlot } from '../undici/save.ts';

/**
 * The dispatcher for hosts that are no services: the one given, else the app's own. Each handler goes to a dispatcher
 * of its generation, unwrapped, so that such a call is what it would have been without us.
 */
export class Otherwise {
  readonly #given: Dispatcher | undefined;
  readonly #self: Dispatcher;
  /** The app's dispatchers, in case we are made the global one. */
  readonly #platform: Dispatcher | undefined;
  readonly #global: Dispatcher | undefined;
  #own: Agent | undefined;

  constructor(given: Dispatcher | undefined, self: Dispatcher) {
    this.#given = given;
    this.#self = self;
    // Made on first use by the platform, and this touches it: later its place may be taken by us.
    void globalThis.Headers;
    this.#platform = platformDispatcher();
    this.#global = getGlobalDispatcher();
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const dispatcher = this.#for(handler);
    if (dispatcher !== undefined) return dispatcher.dispatch(options, handler);
    this.#own ??= new Agent();
    return this.#own.dispatch(options, modernHandler(handler));
  }

  async close(): Promise<void> {
    await this.#own?.close();
  }

  /** undefined where the app has no dispatcher but us. */
  #for(handler: Dispatcher.DispatchHandler): Dispatcher | undefined {
    if (this.#given !== undefined) return this.#given;
    if (typeof handler.onRequestStart !== 'function') return this.#platform;
    const current = getGlobalDispatcher();
    if (current !== undefined && current !== this.#self) return current;
    return this.#global === this.#self ? undefined : this.#global;
  }
}

function platformDispatcher(): Dispatcher | undefined {
  return (globalThis as Record<symbol, unknown>)[platformSlot] as Dispatcher | undefined;
}
