import type { Dispatcher } from 'undici';
import { systemRandom } from '../core/clock.ts';
import { branded, isError } from '../core/errors.ts';
import { checkOptions } from '../core/options.ts';
import { type AgentOptions, type AnyDispatcher, ServiceAgent } from './agent.ts';
import type { CallOptions } from './call.ts';
import type { ClientEvent, Listener } from './events.ts';
import { exchange } from './fetch/exchange.ts';
import { Place } from './fetch/place.ts';
import { isPlainUrl } from './fetch/platform.ts';
import { type LeanRequest, leanRequest, memberOf } from './fetch/request.ts';
import { fleetShape } from './options.ts';
import type { Service, ServiceSnapshot } from './service.ts';

export interface FetchInit extends RequestInit, CallOptions {}

/** The platform's `fetch`, with services balanced; and what it takes to run it. */
export interface Fetch {
  (input: string | URL | Request, init?: FetchInit): Promise<Response>;
  /** The same as a dispatcher, for everything that takes one. */
  readonly dispatcher: AnyDispatcher;
  /** What is known of each service that was called so far; those without endpoints are forgotten when not called for a minute. */
  snapshot(): readonly ServiceSnapshot[];
  /** Hears of every service; returns what takes the listener back. */
  on<E extends ClientEvent>(event: E, listener: Listener<E>): () => void;
  /**
   * Options of a running fetch, over those it has; what was learned of endpoints is kept.
   *
   * @throws {TypeError | RangeError} for options that are wrong, and for `otherwise`, `clock`, `random` and
   * `tls.servername`, which cannot be changed.
   */
  update(options: AgentOptions): void;
  /**
   * Takes no new calls to services, lets those in flight and upgraded connections go on for up to `pool.drainTimeout`,
   * and frees every socket, timer and watch. Other hosts may still be called.
   */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A `fetch` whose calls to services go to one of their healthy endpoints, and whose calls to all other hosts are the
 * platform's own, untouched; with `otherwise` they are the platform's over that dispatcher. A `Response` is the
 * platform's. Rejects with the platform's `TypeError`, which has what went wrong as its `cause`; `isDiscoveryError` and
 * `code` work on it directly.
 *
 * @throws {TypeError | RangeError} for options that are wrong.
 */
export function createFetch(options: AgentOptions = {}): Fetch {
  // Noted now: the app may well put the result in its place.
  const platform = globalThis.fetch;
  checkOptions('createFetch', fleetShape, options);
  const agent = new ServiceAgent(options);
  const random = options.random ?? systemRandom;

  /** `request`: as it was read; undefined for what is left to the platform. */
  const call = (
    service: Service,
    request: LeanRequest | undefined,
    input: string | URL | Request,
    init: FetchInit | undefined,
  ): Promise<Response> => {
    if (request === undefined) return platformFetch(platform, agent, input, init);
    return exchange(request, { home: service, elsewhere: agent }, init ?? {});
  };

  const callOther = (input: string | URL | Request, init: FetchInit | undefined): Promise<Response> =>
    options.otherwise === undefined ? platform(input, init) : platformFetch(platform, agent, input, init);

  // With a default, so that its length is that of the platform's.
  const fetch = (
    input: string | URL | Request,
    init: FetchInit | undefined = undefined,
  ): Promise<Response> => {
    try {
      // Someone who names a dispatcher means it.
      if ((init as { dispatcher?: unknown } | null | undefined)?.dispatcher != null)
        return platform(input, init);
      const place = typeof input === 'string' ? Place.plain(input) : undefined;
      const service = place && agent.known(place.origin);
      if (service !== undefined)
        return call(service, leanRequest(place as Place, input, init, random), input, init);
      const url = urlOf(input);
      // What is no URL gets the platform's own error.
      if (url === undefined) return platform(input, init);
      const found = agent.serviceOf(url);
      if (found === undefined) return callOther(input, init);
      // Read before it waits: the caller may use the same objects for the next call.
      const request = isPlainUrl(url) ? leanRequest(Place.of(url), input, init, random) : undefined;
      if (!(found instanceof Promise)) return call(found, request, input, init);
      return found.then((is) => (is ? call(is, request, input, init) : callOther(input, init)));
    } catch (error) {
      return Promise.reject(error);
    }
  };

  return Object.assign(fetch, {
    dispatcher: agent,
    snapshot: () => agent.snapshot(),
    on: <E extends ClientEvent>(event: E, listener: Listener<E>) => agent.subscribe(event, listener),
    update: (changes: AgentOptions) => agent.update(changes),
    close: () => agent.close(),
    [Symbol.asyncDispose]: () => agent.close(),
  });
}

function urlOf(input: unknown): URL | undefined {
  const text = input instanceof Request ? String(memberOf(input, 'url')) : String(input);
  return URL.parse(text) ?? undefined;
}

/** What `RequestInit` may hold: read one by one, as the platform does, since an init need not be a plain object. */
const initKeys = [
  'method',
  'headers',
  'body',
  'referrer',
  'referrerPolicy',
  'mode',
  'credentials',
  'cache',
  'redirect',
  'integrity',
  'keepalive',
  'signal',
  'duplex',
  'priority',
  'window',
] as const;

/** The platform's fetch over our dispatcher. */
export function platformFetch(
  platform: typeof globalThis.fetch,
  dispatcher: AnyDispatcher,
  input: string | URL | Request,
  init: FetchInit | undefined,
): Promise<Response> {
  // What is no init gets the platform's own error.
  if (init != null && typeof init !== 'object') return platform(input, init);
  const own: Record<string, unknown> = { dispatcher };
  if (init != null) {
    for (const key of initKeys) {
      const value = (init as Record<string, unknown>)[key];
      if (value !== undefined) own[key] = value;
    }
    const { hashKey, idempotent } = init;
    if (hashKey !== undefined || idempotent !== undefined)
      own['dispatcher'] = withCallOptions(dispatcher, { hashKey, idempotent });
  }
  // A Request forgets its referrer in the face of an init that says anything: the dispatcher must not be what does so.
  if (input instanceof Request && Object.keys(own).length === 1) {
    for (const key of ['referrer', 'referrerPolicy']) own[key] = memberOf(input, key);
  }
  return platform(input, own as RequestInit).catch((error: unknown) => {
    throw isError(error) ? branded(error) : error;
  });
}

/** The platform makes the dispatch options itself, so what only we know of a call goes with its dispatcher. */
function withCallOptions(
  dispatcher: Dispatcher,
  extra: { hashKey: string | undefined; idempotent: boolean | undefined },
): Pick<Dispatcher, 'dispatch'> {
  const { hashKey, idempotent } = extra;
  const options = {
    ...(hashKey === undefined ? {} : { hashKey }),
    ...(idempotent === undefined ? {} : { idempotent }),
  };
  return { dispatch: (given, handler) => dispatcher.dispatch({ ...given, ...options }, handler) };
}
