import { inspect } from 'node:util';
import type { Dispatcher } from 'undici';
import type { Random } from '../core/clock.ts';
import type { Endpoint } from '../core/endpoint.ts';
import type { Outcome } from '../core/outcome.ts';
import { legible, parseTarget, targetName } from '../core/target.ts';
import type { AnyDispatcher } from './agent.ts';
import type { CallOptions } from './call.ts';
import { makeService, updateService } from './defaults.ts';
import { ServiceDispatcher } from './dispatcher.ts';
import type { ClientEvent, Listener } from './events.ts';
import { exchange } from './fetch/exchange.ts';
import { Place } from './fetch/place.ts';
import { isPlainUrl } from './fetch/platform.ts';
import { leanRequest, memberOf } from './fetch/request.ts';
import { type RequestBody, requestBody } from './fetch/request-body.ts';
import { type FetchInit, platformFetch } from './fetch.ts';
import { Lease } from './lease.ts';
import { checkFixed, checkServiceOptions, merged, type ServiceOptions } from './options.ts';
import { isPlainRequest, request } from './request/request.ts';
import type { Service, ServiceSnapshot } from './service.ts';

/** As for `undici.request`, with the path taken from the service's origin. */
export type ClientRequestOptions = Omit<Dispatcher.RequestOptions, 'origin' | 'method' | 'body'> &
  CallOptions & {
    /** @default 'GET', or 'PUT' with a body */
    readonly method?: Dispatcher.HttpMethod;
    readonly body?:
      | Dispatcher.RequestOptions['body']
      | FormData
      | URLSearchParams
      | Blob
      | AsyncIterable<Uint8Array>
      | ArrayBuffer;
  };

export interface PickOptions {
  readonly hashKey?: string;
  /** Ends the wait for the first set. */
  readonly signal?: AbortSignal;
}

/** One use of an endpoint by something that is no HTTP call: counted, and judged, until it is released. */
export interface PickedLease {
  readonly endpoint: Endpoint;
  /**
   * Ends the use; only the first call counts. Without an outcome, nothing is said of the endpoint.
   *
   * @throws {TypeError} when it is given something else than an outcome; the use has ended all the same.
   */
  release(outcome?: Outcome): void;
  [Symbol.dispose](): void;
}

/** The client of one service. */
export class Client {
  readonly #service: Service;
  readonly #dispatcher: AnyDispatcher;
  #options: ServiceOptions;

  constructor(name: string | URL, options: ServiceOptions = {}) {
    checkServiceOptions('createClient', options);
    const target = parseTarget(name, options.port);
    const origin = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(String(name)) ? name : `http://${name}`).origin;
    this.#options = options;
    this.#service = makeService(target, origin, options);
    this.#dispatcher = new ServiceDispatcher(this.#service) as unknown as AnyDispatcher;
    this.#service.start();
  }

  /** For everything that takes an undici Dispatcher: `fetch`, `undici.request`, `WebSocket`, `EventSource`. */
  get dispatcher(): AnyDispatcher {
    return this.#dispatcher;
  }

  /**
   * The platform's `fetch`, of a path of this service or a URL at its origin. Rejects as that does, with a `TypeError`
   * that has what went wrong as its `cause`; `isDiscoveryError` and `code` work on it directly.
   */
  async fetch(input: string | URL | Request, init?: FetchInit): Promise<Response> {
    const service = this.#service;
    if (input == null) throw new TypeError(`fetch needs a path, a URL or a Request, got ${input}`);
    const target = input instanceof Request ? input : new URL(input, service.identity.origin);
    const url = target instanceof URL ? target : new URL(String(memberOf(target, 'url')));
    this.#checkOrigin(url);
    const request = isPlainUrl(url) ? leanRequest(Place.of(url), target, init, service.random) : undefined;
    if (request === undefined) return platformFetch(globalThis.fetch, this.#dispatcher, target, init);
    return exchange(request, { home: service, elsewhere: this.#dispatcher }, init ?? {});
  }

  /**
   * `undici.request`'s shape: cheaper than `fetch`, and without its redirects and decoding. A text is the path. Rejects
   * with a `DiscoveryError`, or with the network's own error, which has `attempts`.
   */
  request(options: ClientRequestOptions | string): Promise<Dispatcher.ResponseData> {
    const given: ClientRequestOptions = typeof options === 'string' ? { path: options } : options;
    const path = given?.path;
    if (typeof path !== 'string' || !path.startsWith('/') || path.startsWith('//')) {
      return Promise.reject(
        new TypeError(
          `request path must start with one slash, got ${typeof path === 'string' ? legible(path) : typeof path}`,
        ),
      );
    }
    const { origin } = this.#service.identity;
    const { body } = given;
    const method = given.method || (body ? 'PUT' : 'GET');
    const full = { ...given, method, origin } as Dispatcher.RequestOptions;
    if (body instanceof FormData || body instanceof URLSearchParams)
      Object.assign(full, encodeForm(body, given.headers, this.#service.random));
    return isPlainRequest(full) ? request(this.#service, full) : this.#dispatcher.request(full);
  }

  /**
   * Waits for the first set and picks an endpoint, for gRPC or raw TCP. Rejects as `ready` does, and with a
   * `NoEndpointsError` when the set is empty, or an `OverloadError` when every endpoint has as many calls as it may.
   */
  async pick(options: PickOptions = {}): Promise<PickedLease> {
    const { hashKey, signal } = options;
    await this.ready({ ...(signal === undefined ? {} : { signal }) });
    const backend = this.#service.pick(hashKey == null ? {} : { hashKey: String(hashKey) });
    if (backend instanceof Error) throw backend;
    const lease = new Lease();
    lease.begin(backend, this.#service);
    backend.calls++;
    return {
      endpoint: backend.endpoint,
      release: (outcome = { kind: 'cancelled' }) => lease.release(checkedOutcome(outcome, lease)),
      [Symbol.dispose]: () => lease.release({ kind: 'cancelled' }),
    };
  }

  /**
   * Resolves when the first set is there, also when it is empty: for readiness probes. Rejects with a `ResolveError`
   * after `timeout.resolve`, or sooner where waiting will not help; with a `ClosedError`; or with the signal's reason.
   */
  ready(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.#service.ready(options.signal);
  }

  /** What is known of the service and its endpoints now. */
  snapshot(): ServiceSnapshot {
    return this.#service.snapshot();
  }

  /** Calls the listener at each event until the returned function is called. */
  on<E extends ClientEvent>(event: E, listener: Listener<E>): () => void {
    return this.#service.events.on(event, listener);
  }

  /** Calls the listener at the next such event only; the returned function takes it back. */
  once<E extends ClientEvent>(event: E, listener: Listener<E>): () => void {
    return this.#service.events.once(event, listener);
  }

  /** Takes back a listener. */
  off<E extends ClientEvent>(event: E, listener: Listener<E>): void {
    this.#service.events.off(event, listener);
  }

  /**
   * Options over those it has, key by key, at once; what was learned of the endpoints is kept.
   *
   * @throws {TypeError | RangeError} for options that are wrong, and for `port`, `clock`, `random` and
   * `tls.servername`, which cannot be changed.
   */
  update(options: ServiceOptions): void {
    checkServiceOptions('update', options);
    checkFixed(options, 'port', 'clock', 'random');
    const updated = merged(this.#options, options);
    updateService(this.#service, updated);
    this.#options = updated;
  }

  /**
   * Takes no new calls, lets those in flight and upgraded connections, such as a WebSocket, go on for up to
   * `pool.drainTimeout`, and frees every socket, timer and watch.
   */
  close(): Promise<void> {
    return this.#dispatcher.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #checkOrigin(url: URL): void {
    const { origin } = this.#service.identity;
    if (url.origin === origin) return;
    throw new TypeError(
      `the client of ${targetName(this.#service.target)} fetches from ${origin} only, not from ${url.origin}`,
    );
  }
}

/**
 * A client of the service at `name`: `http://orders.shop:8080`, or a bare name for `http`. Starts to resolve it.
 *
 * @throws {TypeError | RangeError} for a name that can be no service's, and for options that are wrong.
 */
export function createClient(name: string | URL, options: ServiceOptions = {}): Client {
  return new Client(name, options);
}

/** What is learned of an endpoint stays with it, and so would a latency that is no number. */
function checkedOutcome(outcome: Outcome, lease: Lease): Outcome {
  const { kind, status, latency } = (outcome ?? {}) as Readonly<Record<string, unknown>>;
  const measured = typeof latency === 'number' && latency >= 0 && latency < Number.POSITIVE_INFINITY;
  if (kind === 'cancelled' || (kind === 'error' && measured)) return outcome;
  if (kind === 'response' && measured && Number.isInteger(status)) return outcome;
  lease.release({ kind: 'cancelled' });
  throw new TypeError(
    `an outcome is { kind: 'response', status, latency }, { kind: 'error', error, sent, latency } or { kind: 'cancelled' }, got ${inspect(outcome)}`,
  );
}

/** What undici's dispatchers do not take themselves. */
function encodeForm(
  form: FormData | URLSearchParams,
  headers: unknown,
  random: Random,
): { body: unknown; headers: unknown } {
  const { type = '', length, payload } = requestBody(form, false, random) as RequestBody;
  const given = new Headers();
  if (Array.isArray(headers) && !Array.isArray(headers[0])) {
    for (let i = 0; i + 1 < headers.length; i += 2) given.append(String(headers[i]), String(headers[i + 1]));
  } else if (headers != null) {
    const list =
      Symbol.iterator in (headers as object)
        ? [...(headers as Iterable<[string, unknown]>)]
        : Object.entries(headers as object);
    for (const [name, value] of list) {
      for (const one of Array.isArray(value) ? value : [value])
        if (one != null) given.append(name, String(one));
    }
  }
  given.set('content-type', type);
  if (length !== undefined) given.set('content-length', String(length));
  return { body: payload(), headers: [...given].flat() };
}
