import type { Dispatcher } from 'undici';
import { checkCall } from '../undici/handler.ts';
import { ClosableDispatcher } from './closable-dispatcher.ts';
import { Otherwise } from './otherwise.ts';
import type { Service } from './service.ts';

type Interceptor = Dispatcher.DispatcherComposeInterceptor;

/** The dispatcher of one service: what is meant for another origin, such as a redirect, goes where it would without us. */
export class ServiceDispatcher extends ClosableDispatcher {
  /** Not private: `compose()` is called on what was composed, too. */
  protected readonly origin: string;
  readonly #service: Service;
  #otherwise: Otherwise | undefined;

  constructor(service: Service) {
    super();
    this.origin = service.identity.origin;
    this.#service = service;
    service.connected = (dispatcher) => this.tellOf(dispatcher);
  }

  /** Interceptors find the service's origin in calls that name none, as those of undici's Pool do. */
  override compose(
    ...given: readonly Interceptor[] | readonly [readonly Interceptor[]]
  ): Dispatcher.ComposedDispatcher {
    const { origin } = this;
    const named: Interceptor = (dispatch) => (options, handler) =>
      dispatch(options?.origin ? options : { ...options, origin }, handler);
    return super.compose(...(given.flat() as Interceptor[]), named);
  }

  protected override send(
    options: Dispatcher.DispatchOptions,
    modern: Dispatcher.DispatchHandler,
    given: Dispatcher.DispatchHandler,
  ): boolean {
    const { origin } = options;
    const own = this.origin;
    if (origin !== undefined && origin !== own && new URL(String(origin)).origin !== own) {
      this.#otherwise ??= new Otherwise(undefined);
      return this.#otherwise.dispatch(options, given);
    }
    checkCall(options, modern);
    this.#service.dispatch(options, modern);
    return true;
  }

  protected override async finish(): Promise<void> {
    await this.#service.close();
    await this.#otherwise?.close();
  }

  protected override cut(error: Error): void {
    this.#service.destroy(error);
  }
}
