import type { EventEmitter } from 'node:events';
import type { Dispatcher as DispatcherType } from 'undici';
import { modernHandler } from '../undici/handler.ts';
import { Dispatcher, errors } from '../undici/index.ts';

type Options = DispatcherType.DispatchOptions;
type Handler = DispatcherType.DispatchHandler;

const connectionEvents = ['connect', 'disconnect', 'connectionError', 'drain'] as const;

/**
 * What undici's own dispatchers have in common: what they refuse, how they are closed, and which events tell of their
 * connections.
 */
export abstract class ClosableDispatcher extends Dispatcher {
  #closing: Promise<void> | undefined;
  #destroyed = false;
  readonly #tellers = connectionEvents.map((event) => ({
    event,
    tell: (origin: URL, targets: readonly DispatcherType[], ...error: readonly unknown[]): void => {
      (this as EventEmitter).emit(event, origin, [this, ...targets], ...error);
    },
  }));

  constructor() {
    super();
    this.bind('close', 'destroy');
  }

  /** Sends one call. `modern` is the handler as today's undici has it, `given` as the caller has it. */
  protected abstract send(options: Options, modern: Handler, given: Handler): boolean;

  /** Takes no new calls, and lets those in flight finish. */
  protected abstract finish(): Promise<void>;

  /** Ends the calls in flight with an error. */
  protected abstract cut(error: Error): void;

  /** `compose()` makes a Proxy, through which private members cannot be reached: these methods are called on us. */
  protected bind(...names: readonly string[]): void {
    const methods = this as unknown as Record<string, (...args: never[]) => unknown>;
    for (const name of names) methods[name] = methods[name]!.bind(this);
  }

  /** Tells of the connections of one endpoint, as undici's Agent tells of those of its Pools. */
  protected tellOf(dispatcher: DispatcherType): void {
    if (typeof dispatcher.on !== 'function') return;
    for (const { event, tell } of this.#tellers) (dispatcher as EventEmitter).on(event, tell);
  }

  /** Whether `close()` or `destroy()` has been called. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Whether `destroy()` has been called, or `close()` has done its work. */
  get destroyed(): boolean {
    return this.#destroyed;
  }

  override dispatch(options: Options, given: Handler): boolean {
    const modern = modernHandler(given);
    try {
      if (typeof options !== 'object' || options === null)
        throw new errors.InvalidArgumentError('opts must be an object.');
      return this.send(withoutUs(options), modern, given);
    } catch (error) {
      if (typeof modern.onResponseError !== 'function') throw error;
      modern.onResponseError(null as never, error as Error);
      return false;
    }
  }

  override close(callback: () => void): void;
  override close(): Promise<void>;
  override close(callback?: () => void): Promise<void> | void {
    checkCallback(callback);
    this.#closing ??= this.finish().then(() => {
      this.#destroyed = true;
    });
    if (callback === undefined) return this.#closing;
    // No error and no result, as undici says it.
    void this.#closing.then(() => (callback as (...nothing: null[]) => void)(null, null));
  }

  override destroy(error: Error | null, callback: () => void): void;
  override destroy(callback: () => void): void;
  override destroy(error?: Error | null): Promise<void>;
  override destroy(error?: Error | null | (() => void), callback?: () => void): Promise<void> | void {
    const [reason, done] = typeof error === 'function' ? [undefined, error] : [error, callback];
    checkCallback(done);
    this.#destroyed = true;
    this.cut(reason ?? new errors.ClientDestroyedError());
    return done === undefined ? this.close() : this.close(done);
  }
}

/** An older undici names us in the options, which today's would take for a mistake. */
function withoutUs(options: Options): Options {
  if (!('dispatcher' in options)) return options;
  const { dispatcher: _, ...rest } = options;
  return rest as Options;
}

function checkCallback(callback: unknown): void {
  if (callback !== undefined && typeof callback !== 'function')
    throw new errors.InvalidArgumentError('invalid callback');
}
