import type { Dispatcher as DispatcherType } from 'undici';
import { modernHandler } from '../undici/handler.ts';
import { Dispatcher } from '../undici/index.ts';
import { Otherwise } from './otherwise.ts';
import type { Service } from './service.ts';

/** The dispatcher of one service: what is meant for another origin, such as a redirect, goes where it would without us. */
export class ServiceDispatcher extends Dispatcher {
  readonly #service: Service;
  #otherwise: Otherwise | undefined;

  constructor(service: Service) {
    super();
    this.#service = service;
  }

  override dispatch(
    options: DispatcherType.DispatchOptions,
    handler: DispatcherType.DispatchHandler,
  ): boolean {
    const { origin } = options;
    const own = this.#service.identity.origin;
    if (origin !== undefined && origin !== own && new URL(String(origin)).origin !== own) {
      this.#otherwise ??= new Otherwise(undefined, this);
      return this.#otherwise.dispatch(options, handler);
    }
    this.#service.dispatch(options, modernHandler(handler));
    return true;
  }

  override close(callback: () => void): void;
  override close(): Promise<void>;
  override close(callback?: () => void): Promise<void> | void {
    const closed = this.#service.close().then(() => this.#otherwise?.close());
    if (callback === undefined) return closed;
    void closed.then(callback);
  }

  override destroy(error: Error | null, callback: () => void): void;
  override destroy(callback: () => void): void;
  override destroy(error?: Error | null): Promise<void>;
  override destroy(error?: Error | null | (() => void), callback?: () => void): Promise<void> | void {
    const done = typeof error === 'function' ? error : callback;
    this.#service.destroy();
    return done === undefined ? this.close() : this.close(done);
  }
}
