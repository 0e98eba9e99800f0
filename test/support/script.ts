import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { CallDispatchOptions } from '../../src/client/call.ts';
import type { ServiceOptions } from '../../src/client/options.ts';
import { Service, type ServiceParts } from '../../src/client/service.ts';
import { settingsOf } from '../../src/client/settings.ts';
import type { Backend } from '../../src/core/backend.ts';
import type { Balancer } from '../../src/core/balancer.ts';
import type { Random } from '../../src/core/clock.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Transport } from '../../src/core/transport.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { seeded } from '../../src/testing/seeded.ts';

/** One attempt as the transport sees it: the test plays the endpoint, step by step. */
export class Exchange implements Dispatcher.DispatchController {
  readonly endpoint: Endpoint;
  readonly options: Dispatcher.DispatchOptions;
  readonly handler: Dispatcher.DispatchHandler;
  aborted = false;
  paused = false;
  reason: Error | null = null;
  rawHeaders = null;
  rawTrailers = null;
  ended = false;
  readonly #onEnd: () => void;

  constructor(
    endpoint: Endpoint,
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
    onEnd: () => void,
  ) {
    this.#onEnd = onEnd;
    this.endpoint = endpoint;
    this.options = options;
    this.handler = handler;
  }

  /** The request goes over the wire. */
  send(): this {
    try {
      this.handler.onRequestStart?.(this, {});
    } catch (error) {
      // As undici does it: what the handler throws fails the request, and nothing is written.
      this.fail(error as Error);
    }
    return this;
  }

  /** Interim headers where the status is below 200. */
  head(status = 200, headers: IncomingHttpHeaders = {}): this {
    try {
      this.handler.onResponseStart?.(this, status, headers, '');
    } catch (error) {
      this.abort(error as Error);
    }
    return this;
  }

  data(chunk: string | Buffer): this {
    if (!this.ended) this.handler.onResponseData?.(this, Buffer.from(chunk));
    return this;
  }

  end(): this {
    if (this.ended) return this;
    this.ended = true;
    this.handler.onResponseEnd?.(this, {});
    this.#onEnd();
    return this;
  }

  /** A whole answer, from the sending on. */
  answer(status = 200, headers: IncomingHttpHeaders = {}): this {
    return this.send().head(status, headers).end();
  }

  fail(error: Error = new Error('failed')): this {
    if (this.ended) return this;
    this.ended = true;
    this.handler.onResponseError?.(this, error);
    this.#onEnd();
    return this;
  }

  abort(reason: Error): void {
    if (this.ended) return;
    this.aborted = true;
    this.reason = reason;
    this.fail(reason);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }
}

/** An error as the network makes it. */
export function errno(code: string): Error & { code: string } {
  return Object.assign(new Error(code), { code });
}

/** What the caller of one call was told. */
export class Caller implements Dispatcher.DispatchHandler {
  controller: Dispatcher.DispatchController | undefined;
  starts = 0;
  readonly interim: number[] = [];
  status: number | undefined;
  headers: IncomingHttpHeaders | undefined;
  body = '';
  ended = false;
  error:
    | (Error & {
        code?: string;
        attempts?: readonly { class: string; phase: string; code: string; endpoint: string }[];
      })
    | undefined;
  /** How often the end, good or bad, was told: once is right. */
  ends = 0;

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.starts++;
    this.controller = controller;
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) {
      this.interim.push(status);
      return;
    }
    this.status = status;
    this.headers = headers;
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.body += chunk.toString();
  }

  onResponseEnd(): void {
    this.ended = true;
    this.ends++;
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.error = error;
    this.ends++;
  }
}

/** Takes the first backend that was not tried, else the first. */
export const inOrder: Balancer = {
  pick: (backends, { tried }) => backends.find((backend: Backend) => !tried?.has(backend)) ?? backends[0],
};

/** A service on a fake clock whose endpoints the test plays. */
export class Script {
  readonly clock: FakeClock = new FakeClock(1_000_000);
  readonly resolver: FakeResolver;
  readonly exchanges: Exchange[] = [];
  readonly service: Service;
  readonly events: { event: string; data: unknown }[] = [];
  /** Dispatchers that were closed, by address. */
  readonly closed: string[] = [];
  wallClock = 1_700_000_000_000;

  constructor(
    endpoints: number | readonly string[] | undefined,
    options: ServiceOptions = {},
    random: Random = seeded(1),
  ) {
    const names =
      typeof endpoints === 'number'
        ? Array.from({ length: endpoints }, (_, i) => `10.0.${(i + 1) >> 8}.${(i + 1) & 255}:80`)
        : endpoints;
    this.resolver = new FakeResolver(names);
    const transport: Transport = (_, endpoint) => this.#dispatcher(endpoint);
    const parts: ServiceParts = {
      resolver: options.resolver ?? this.resolver,
      balancer: options.balancer ?? inOrder,
      transport: options.transport ?? transport,
      settings: settingsOf(options),
      clock: this.clock,
      random,
      wallClock: () => this.wallClock,
    };
    const target = { protocol: 'http:', host: 'orders.shop' };
    const identity = { origin: 'http://orders.shop', protocol: 'http:', servername: 'orders.shop' };
    this.service = new Service(target, identity, parts);
    for (const event of ['endpoints', 'ejected', 'restored', 'stale', 'error', 'warning'] as const) {
      this.service.events.on(event, (data) => this.events.push({ event, data }));
    }
    this.service.start();
  }

  /** Lets promises settle. */
  settle(): Promise<void> {
    return this.clock.advance(0);
  }

  update(options: ServiceOptions): void {
    this.service.update({ ...this.service.parts, settings: settingsOf(options) });
  }

  call(options: Partial<CallDispatchOptions> = {}, caller: Caller = new Caller()): Caller {
    this.service.dispatch({ method: 'GET', path: '/', ...options }, caller);
    return caller;
  }

  /** The attempt that was made last. */
  get last(): Exchange {
    const exchange = this.exchanges.at(-1);
    if (exchange === undefined) throw new Error('no attempt was made');
    return exchange;
  }

  count(event: string): number {
    return this.events.filter((entry) => entry.event === event).length;
  }

  #dispatcher(endpoint: Endpoint): Dispatcher {
    const own: Exchange[] = [];
    const idle = Promise.withResolvers<void>();
    let closing = false;
    const check = (): void => {
      if (closing && own.every((exchange) => exchange.ended)) idle.resolve();
    };
    const dispatcher = {
      dispatch: (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler) => {
        const exchange = new Exchange(endpoint, options, handler, check);
        own.push(exchange);
        this.exchanges.push(exchange);
        return true;
      },
      close: () => {
        closing = true;
        this.closed.push(`${endpoint.address}:${endpoint.port}`);
        check();
        return idle.promise;
      },
      destroy: async () => {
        closing = true;
        for (const exchange of own) exchange.fail(errno('UND_ERR_DESTROYED'));
        check();
      },
    };
    return dispatcher as unknown as Dispatcher;
  }
}
