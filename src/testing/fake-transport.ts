import type { IncomingHttpHeaders } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Dispatcher as DispatcherType } from 'undici';
import { addressOf, type Endpoint } from '../core/endpoint.ts';
import { type Check, checkOptions, func, integer, object, type Shape } from '../core/options.ts';
import type { ServiceIdentity, Transport } from '../core/transport.ts';
import { modernHandler } from '../undici/handler.ts';
import { Dispatcher, errors } from '../undici/index.ts';

/** A request as it would have gone over the wire. */
export interface FakeRequest {
  readonly service: ServiceIdentity;
  readonly endpoint: Endpoint;
  readonly method: string;
  readonly path: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What the fake answers. */
export type FakeReply =
  | {
      /** @default 200 */
      readonly status?: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string | Buffer;
    }
  /** The connection fails before anything is sent. Told at once: a server that takes time has taken the request. */
  | { readonly refuse: Error }
  /** The request is sent, and no answer comes but this error. */
  | { readonly reset: Error };

export type FakeServer = (request: FakeRequest) => FakeReply | Promise<FakeReply>;

/**
 * A transport without a network: the test is the server of every endpoint. Pass the instance itself as the
 * `transport` option. Answers come when the server's promise settles: a promise that never does is a server that
 * hangs.
 */
export interface FakeTransport extends Transport {
  /** Every request that was sent, in order. */
  readonly requests: readonly FakeRequest[];
  /** Dispatchers that were made and not closed: 0 when whatever was tested has been cleaned up. */
  readonly open: number;
  /** Changes how requests are answered from now on. */
  respond(serve: FakeServer): void;
  /** How many requests each endpoint has got, by `address:port`. */
  served(): Record<string, number>;
}

/** A transport is a function, so what this constructs is one as well. Without a server every answer is an empty 200. */
export const FakeTransport: new (serve?: FakeServer) => FakeTransport = class {
  constructor(serve: FakeServer = () => ({})) {
    func(serve, 'serve of FakeTransport');
    let current = serve;
    let open = 0;
    const requests: FakeRequest[] = [];
    const transport = (service: ServiceIdentity, endpoint: Endpoint): DispatcherType => {
      open++;
      return new FakeDispatcher(
        service,
        endpoint,
        (request) => current(request),
        (request) => requests.push(request),
        () => open--,
      );
    };
    const methods = {
      requests,
      respond(next: FakeServer): void {
        func(next, 'next of FakeTransport.respond');
        current = next;
      },
      served(): Record<string, number> {
        const counts: Record<string, number> = {};
        for (const { endpoint } of requests) {
          const key = addressOf(endpoint.address, endpoint.port);
          counts[key] = (counts[key] ?? 0) + 1;
        }
        return counts;
      },
    };
    // biome-ignore lint/correctness/noConstructorReturn: a class cannot make a function otherwise
    return Object.defineProperty(Object.assign(transport, methods), 'open', { get: () => open });
  }
} as unknown as new (
  serve?: FakeServer,
) => FakeTransport;

/** The dispatcher of one endpoint: keeps undici's order of handler calls, on promises. */
class FakeDispatcher extends Dispatcher {
  readonly #service: ServiceIdentity;
  readonly #endpoint: Endpoint;
  readonly #serve: FakeServer;
  readonly #sent: (request: FakeRequest) => void;
  readonly #onClose: () => void;
  readonly #running = new Set<FakeExchange>();
  #closed: PromiseWithResolvers<void> | undefined;

  constructor(
    service: ServiceIdentity,
    endpoint: Endpoint,
    serve: FakeServer,
    sent: (request: FakeRequest) => void,
    onClose: () => void,
  ) {
    super();
    this.#service = service;
    this.#endpoint = endpoint;
    this.#serve = serve;
    this.#sent = sent;
    this.#onClose = onClose;
  }

  override dispatch(options: DispatcherType.DispatchOptions, given: DispatcherType.DispatchHandler): boolean {
    const handler = modernHandler(given);
    if (this.#closed !== undefined) {
      handler.onResponseError?.(null as never, new errors.ClientClosedError());
      return false;
    }
    const exchange = new FakeExchange(handler, () => {
      this.#running.delete(exchange);
      this.#settleClose();
    });
    this.#running.add(exchange);
    void this.#run(options, exchange);
    return true;
  }

  override close(callback: () => void): void;
  override close(): Promise<void>;
  override close(callback?: () => void): Promise<void> | void {
    if (this.#closed === undefined) {
      this.#closed = Promise.withResolvers();
      this.#onClose();
      this.#settleClose();
    }
    if (callback === undefined) return this.#closed.promise;
    void this.#closed.promise.then(callback);
  }

  override destroy(error: Error | null, callback: () => void): void;
  override destroy(callback: () => void): void;
  override destroy(error?: Error | null): Promise<void>;
  override destroy(error?: Error | null | (() => void), callback?: () => void): Promise<void> | void {
    const done = typeof error === 'function' ? error : callback;
    const closed = this.close();
    const reason = typeof error === 'function' || error == null ? new errors.ClientDestroyedError() : error;
    for (const exchange of [...this.#running]) exchange.fail(reason);
    if (done === undefined) return closed;
    void closed.then(done);
  }

  #settleClose(): void {
    if (this.#running.size === 0) this.#closed?.resolve();
  }

  async #run(options: DispatcherType.DispatchOptions, exchange: FakeExchange): Promise<void> {
    try {
      const body = await readBody(options.body);
      if (exchange.ended) return;
      const request: FakeRequest = {
        service: this.#service,
        endpoint: this.#endpoint,
        method: options.method,
        path: options.path,
        headers: headersOf(options.headers),
        body,
      };
      const answer = Promise.resolve(this.#serve(request)).then(checkedReply);
      const early = await Promise.race([answer, nextTurn()]);
      if (exchange.ended) return;
      if (early !== undefined && 'refuse' in early) {
        exchange.fail(early.refuse);
        return;
      }
      this.#sent(request);
      exchange.start();
      const reply = await answer;
      if (exchange.ended) return;
      if ('refuse' in reply) exchange.fail(reply.refuse);
      else if ('reset' in reply) exchange.fail(reply.reset);
      else exchange.answer(reply);
    } catch (error) {
      exchange.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

/** One request and its answer, and the controller that its handler sees. */
class FakeExchange implements DispatcherType.DispatchController {
  readonly #handler: DispatcherType.DispatchHandler;
  readonly #onEnd: () => void;
  #rest: (() => void)[] = [];
  ended = false;
  aborted = false;
  paused = false;
  reason: Error | null = null;
  rawHeaders: string[] = [];
  rawTrailers: string[] = [];

  constructor(handler: DispatcherType.DispatchHandler, onEnd: () => void) {
    this.#handler = handler;
    this.#onEnd = onEnd;
  }

  start(): void {
    this.#handler.onRequestStart?.(this, {});
  }

  answer({
    status = 200,
    headers = {},
    body = '',
  }: Exclude<FakeReply, { refuse: Error } | { reset: Error }>): void {
    this.rawHeaders = Object.entries(headers).flat();
    const parsed: IncomingHttpHeaders = {};
    for (const [name, value] of Object.entries(headers)) parsed[name.toLowerCase()] = value;
    const chunk = Buffer.from(body);
    this.#rest = [
      () => this.#handler.onResponseStart?.(this, status, parsed, ''),
      ...(chunk.byteLength === 0 ? [] : [() => this.#handler.onResponseData?.(this, chunk)]),
      () => {
        this.#end();
        this.#handler.onResponseEnd?.(this, {});
      },
    ];
    this.#continue();
  }

  fail(error: Error): void {
    if (this.ended) return;
    this.#end();
    this.#handler.onResponseError?.(this, error);
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
    this.#continue();
  }

  #continue(): void {
    while (!this.ended && !this.paused && this.#rest.length > 0) this.#rest.shift()?.();
  }

  #end(): void {
    this.ended = true;
    this.#rest = [];
    this.#onEnd();
  }
}

/** Resolves to nothing after one turn of the event loop. */
const isError: Check = (value, name) => {
  if (!(value instanceof Error)) throw new TypeError(`option ${name} must be an Error, got ${String(value)}`);
};

const replyShape: Shape = {
  status: integer(200, 599),
  headers: object,
  body: (value, name) => {
    if (typeof value !== 'string' && !Buffer.isBuffer(value))
      throw new TypeError(`option ${name} must be a string or a Buffer, got ${typeof value}`);
  },
  refuse: isError,
  reset: isError,
};

/** A reply that says nothing known would be an empty 200, whatever the test meant. */
function checkedReply(reply: FakeReply): FakeReply {
  checkOptions('reply of the fake server', replyShape, reply);
  return reply;
}

function nextTurn(): Promise<undefined> {
  return new Promise((resolve) => setImmediate(() => resolve(undefined)));
}

async function readBody(body: unknown): Promise<string> {
  if (body == null) return '';
  if (typeof body === 'string') return body;
  if (body instanceof Blob) return body.text();
  if (ArrayBuffer.isView(body)) return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
  return text(body as AsyncIterable<Uint8Array>);
}

function headersOf(headers: DispatcherType.DispatchOptions['headers']): Record<string, string> {
  const result: Record<string, string> = {};
  if (headers == null) return result;
  let entries: Iterable<readonly [string, unknown]>;
  if (Array.isArray(headers) && !Array.isArray(headers[0])) {
    const flat = headers as readonly string[];
    entries = flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1]] as const] : []));
  } else {
    entries =
      Symbol.iterator in headers
        ? (headers as Iterable<readonly [string, unknown]>)
        : Object.entries(headers);
  }
  for (const [name, value] of entries) result[name.toLowerCase()] = String(value);
  return result;
}
