import type { Dispatcher as DispatcherType } from 'undici';
import { modernHandler } from '../undici/handler.ts';
import { Agent, Dispatcher, getGlobalDispatcher } from '../undici/index.ts';
import { platformSlot } from '../undici/save.ts';

type Options = DispatcherType.DispatchOptions;
type Handler = DispatcherType.DispatchHandler;

/**
 * The dispatcher for hosts that are no services: the one given, else the app's own. Each handler goes to a dispatcher
 * of its generation, so that such a call is what it would have been without us.
 */
export class Otherwise {
  readonly #given: DispatcherType | undefined;
  /** Those that the app had before us, in case we are made the global one. */
  readonly #platform: DispatcherType | undefined;
  readonly #global: DispatcherType | undefined;
  /** Leads to us: calls have come back from there. */
  #circular: DispatcherType | undefined;
  /** On calls that have been here. */
  readonly #mark: symbol = Symbol('passed');
  #own: Agent | undefined;

  constructor(given: DispatcherType | undefined) {
    this.#given = given;
    // Made on first use by the platform, and this touches it: later its place may be taken by us.
    void globalThis.Headers;
    this.#platform = platformDispatcher();
    this.#global = getGlobalDispatcher();
  }

  dispatch(options: Options, handler: Handler): boolean {
    const given = this.#given;
    // undici's MockAgent waits for ever for a handler that it does not know.
    if (given !== undefined)
      return given.dispatch(options, given instanceof Dispatcher ? modernHandler(handler) : handler);
    const modern = typeof handler.onRequestStart === 'function';
    const before = modern ? this.#global : this.#platform;
    const current = modern ? getGlobalDispatcher() : platformDispatcher();
    if (this.#mark in options) this.#circular = current;
    if (current !== undefined && current !== before && current !== this.#circular)
      return current.dispatch({ ...options, [this.#mark]: true } as Options, handler);
    if (before !== undefined) return before.dispatch(options, handler);
    // The app has none but us.
    this.#own ??= new Agent();
    return this.#own.dispatch(options, modernHandler(handler));
  }

  async close(): Promise<void> {
    await this.#own?.close();
  }
}

function platformDispatcher(): DispatcherType | undefined {
  return (globalThis as Record<symbol, unknown>)[platformSlot] as DispatcherType | undefined;
}
