import type { SecureContextOptions } from 'node:tls';
import type { Balancer } from '../core/balancer.ts';
import type { Clock, Random } from '../core/clock.ts';
import {
  boolean,
  type Check,
  checkOptions,
  duration,
  finiteDuration,
  func,
  implementing,
  integer,
  number,
  object,
  ordered,
  orFalse,
  type Shape,
  shape,
  string,
} from '../core/options.ts';
import type { Resolver } from '../core/resolver.ts';
import { checkPort } from '../core/target.ts';
import type { Transport } from '../core/transport.ts';

/** All in ms; `Infinity` means none. */
export interface TimeoutOptions {
  /** From the call until the final response headers, retries included; the body is not counted. @default 10_000 */
  readonly total?: number;
  /** One attempt, until its response headers. @default Infinity */
  readonly attempt?: number;
  /** One connection, TLS handshake included. @default 1_000 */
  readonly connect?: number;
  /** How long a call waits for the first set of endpoints. @default 5_000 */
  readonly resolve?: number;
  /** The longest pause between two pieces of a response body. @default 300_000 */
  readonly idle?: number;
  /**
   * Name of a request header that tells the endpoint how many ms are left of `total`, e.g. `x-deadline-ms`; each
   * attempt says what is left by then. A call that has the header already keeps its own. @default none
   */
  readonly header?: string;
}

/** Retries of one service may add this much load, however many calls fail. */
export interface BudgetOptions {
  /** Retries per call, 0 to 1. @default 0.2 */
  readonly ratio?: number;
  /** Retries that are always allowed. @default 10 */
  readonly minPerSecond?: number;
  /** ms over which calls and retries are counted. @default 10_000 */
  readonly window?: number;
}

export interface RetryOptions {
  /**
   * Attempts per call, the first included. What was provably not sent goes to another endpoint besides. Those that follow
   * one which may have reached an endpoint have the header `x-retry-attempt`, 1 and up. @default 3
   */
  readonly attempts?: number;
  /** Response statuses that are retried, for idempotent calls. @default [502, 503, 504] */
  readonly statuses?: readonly number[];
  /** Full jitter: uniform between 0 and `min` × (2ⁿ − 1), at most `max`, in ms. @default { min: 25, max: 250 } */
  readonly backoff?: { readonly min?: number; readonly max?: number };
  /** The longest `Retry-After` that is waited for, in ms; a longer one ends the retries. @default 10_000 */
  readonly maxRetryAfter?: number;
  /** How much of a streamed request body is kept so that it can be sent again, in bytes. @default 65_536 */
  readonly bodyLimit?: number;
  readonly budget?: BudgetOptions | false;
}

/**
 * A second attempt at another endpoint while the first is still out. Idempotent calls only; paid from the retry budget,
 * which with `retry: false` is the default one.
 */
export interface HedgeOptions {
  /** ms after which the second attempt starts; with `percentile`, the least that is waited. */
  readonly delay?: number;
  /**
   * Share of the answers, 0.5 to 0.9999, whose latency is waited for: 0.95 hedges one call in twenty. Measured over
   * the last 10 to 20 s; while less than 100 answers are known, `delay` holds, and without it nothing is hedged.
   */
  readonly percentile?: number;
}

/** How many calls may wait; one more fails at once with an `OverloadError`. */
export interface QueueOptions {
  /**
   * Calls that wait for a connection of one endpoint, where `pool.connections` limits them. Further calls go to other
   * endpoints, and fail when those are full too. @default 100
   */
  readonly endpoint?: number;
  /** Calls that wait in all: for the first set of endpoints, or for a connection. @default 10_000 */
  readonly total?: number;
}

/** When an endpoint's circuit opens, and for how long. */
export interface EndpointCircuitOptions {
  /** Failures in a row that open it. @default 5 */
  readonly consecutive?: number;
  /** Share of failures that opens it, 0 to 1. @default 0.85 */
  readonly rate?: number;
  /** Calls within `window` below which the share is not looked at. @default 50 */
  readonly volume?: number;
  /** ms. @default 10_000 */
  readonly window?: number;
  /** ms the first ejection lasts; the n-th in a row lasts n times as long, ±10 %. @default 5_000 */
  readonly ejection?: number;
  /** ms no ejection exceeds. @default 300_000 */
  readonly maxEjection?: number;
}

/** Fails calls at once while the whole service fails. */
export interface ServiceCircuitOptions {
  /** Share of failed calls that opens it, 0 to 1. @default 0.5 */
  readonly rate?: number;
  /** Calls within `window` below which the share is not looked at. @default 20 */
  readonly volume?: number;
  /** ms. @default 10_000 */
  readonly window?: number;
  /** ms until a trial call is let through. @default 5_000 */
  readonly reset?: number;
}

export interface PoolOptions {
  /** Connections per endpoint; calls beyond them wait, see `queue.endpoint`. @default Infinity */
  readonly connections?: number;
  /**
   * ms an idle connection is kept when the server gives no hint; with a hint, the hint less 2 s. Without a hint, what
   * must not run twice takes a new connection sooner: after 1 s at the latest. @default 4_000
   */
  readonly keepAliveTimeout?: number;
  /**
   * ms after which a connection is replaced, ±10 % by endpoint.
   * @default Infinity; 30_000 for a service with one endpoint that is not watched: it may be a virtual IP, behind
   * which another pod is chosen for each connection
   */
  readonly maxConnectionAge?: number;
  /** ms that calls in flight to a removed endpoint, or at `close()`, may take to finish. @default 30_000 */
  readonly drainTimeout?: number;
  /** Whether HTTP/2 is offered to TLS servers; not for upgrades, such as a WebSocket. @default false */
  readonly allowH2?: boolean;
}

/**
 * As for `tls.connect`. Material that has been renewed is given to `update({ tls })`: new connections take it, and those
 * that exist end with their calls.
 */
export interface TlsOptions {
  readonly ca?: string | Buffer | readonly (string | Buffer)[];
  readonly cert?: string | Buffer | readonly (string | Buffer)[];
  readonly key?: string | Buffer;
  /** The name the certificate must carry, and SNI. @default the service's host */
  readonly servername?: string;
}

export interface ServiceOptions {
  /** @default auto(): the EndpointSlice watch in a cluster, with DNS behind it; DNS elsewhere */
  readonly resolver?: Resolver;
  /** One balancer serves one service. @default adaptive() */
  readonly balancer?: Balancer;
  /** Overrides the port of the URL: a number, or the name of a port. */
  readonly port?: number | string;
  readonly timeout?: TimeoutOptions;
  readonly retry?: RetryOptions | false;
  readonly hedge?: HedgeOptions | false;
  readonly queue?: QueueOptions;
  readonly circuit?: {
    readonly endpoint?: EndpointCircuitOptions | false;
    /** @default false */
    readonly service?: ServiceCircuitOptions | false;
  };
  /**
   * Share of eligible endpoints under which health is ignored, 0 to 1; with 0 it is only ignored when no endpoint at
   * all looks healthy. @default 0.5
   */
  readonly panicThreshold?: number;
  /** ms over which a new endpoint is ramped up to its full share; false for none. @default false */
  readonly slowStart?: number | false;
  readonly pool?: PoolOptions;
  readonly tls?: TlsOptions;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Makes the dispatcher of one endpoint. @default an undici Pool pinned to the endpoint's address */
  readonly transport?: Transport;
}

const share: Check = number(0, 1);

/** A port as options take it: a number, or a name. */
const port: Check = (value, name) => {
  if (typeof value === 'string') return string(value, name);
  if (typeof value !== 'number') throw new TypeError(`option ${name} must be a number or a port's name`);
  checkPort(value, `option ${name}`);
};

const retry: Check = shape({
  attempts: integer(1, 20),
  statuses: (value, name) => {
    if (!Array.isArray(value)) throw new TypeError(`option ${name} must be an array of statuses`);
    for (const status of value) integer(400, 599)(status, name);
  },
  backoff: ordered('min', 'max', shape({ min: number(0), max: number(0) })),
  maxRetryAfter: number(0),
  bodyLimit: integer(0),
  budget: orFalse(shape({ ratio: share, minPerSecond: number(0), window: number(1_000, 600_000) })),
});

const hedge: Check = (value, name) => {
  shape({ delay: duration, percentile: number(0.5, 0.9999) })(value, name);
  const { delay, percentile } = value as HedgeOptions;
  if (delay === undefined && percentile === undefined) {
    throw new TypeError(`option ${name} must say when: a delay in ms, a percentile, or both`);
  }
};

/** A token of RFC 9110 §5.6.2. */
const headerName: Check = (value, name) => {
  string(value, name);
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(value as string)) {
    throw new TypeError(
      `option ${name} must be the name of a header, got ${JSON.stringify((value as string).slice(0, 80))}`,
    );
  }
};

const tlsMaterial: Check = (value, name) => {
  const entries = Array.isArray(value) ? value : [value];
  if (!entries.every((entry) => typeof entry === 'string' || Buffer.isBuffer(entry))) {
    throw new TypeError(`option ${name} must be PEM text, a Buffer, or an array of these`);
  }
};

/** Fails now what would otherwise fail each connection: above all, files that were read while they were replaced. */
const tls: Check = (value, name) => {
  shape({ ca: tlsMaterial, cert: tlsMaterial, key: tlsMaterial, servername: string })(value, name);
  const { ca = [], cert, key } = value as TlsOptions;
  // Loaded when they are needed: most services speak plain text.
  const { X509Certificate } = process.getBuiltinModule('node:crypto');
  const { createSecureContext } = process.getBuiltinModule('node:tls');
  try {
    // OpenSSL takes any text for a list of authorities that is empty.
    for (const authority of [ca].flat()) new X509Certificate(authority);
    if (cert !== undefined || key !== undefined) createSecureContext({ cert, key } as SecureContextOptions);
  } catch (error) {
    throw new TypeError(`option ${name} is no usable material: ${(error as Error).message}`, {
      cause: error,
    });
  }
};

export const serviceShape: Shape = {
  resolver: implementing('a Resolver', 'watch'),
  balancer: implementing('a Balancer', 'pick'),
  port,
  timeout: shape({
    total: duration,
    attempt: duration,
    connect: duration,
    resolve: duration,
    idle: duration,
    header: headerName,
  }),
  retry: orFalse(retry),
  hedge: orFalse(hedge),
  queue: shape({ endpoint: integer(0), total: integer(1) }),
  circuit: shape({
    endpoint: orFalse(
      ordered(
        'ejection',
        'maxEjection',
        shape({
          consecutive: integer(1),
          rate: share,
          volume: integer(1),
          window: number(1_000),
          ejection: duration,
          maxEjection: duration,
        }),
      ),
    ),
    service: orFalse(shape({ rate: share, volume: integer(1), window: number(1_000), reset: duration })),
  }),
  panicThreshold: share,
  slowStart: orFalse(duration),
  pool: shape({
    connections: (value, name) => (value === Number.POSITIVE_INFINITY ? undefined : integer(1)(value, name)),
    keepAliveTimeout: finiteDuration,
    maxConnectionAge: duration,
    drainTimeout: number(0, Number.POSITIVE_INFINITY),
    allowH2: boolean,
  }),
  tls,
  clock: implementing('a Clock', 'now', 'schedule'),
  random: func,
  transport: func,
};

/** Adds, for what takes many services, which of them are ours. */
export const fleetShape: Shape = {
  ...serviceShape,
  // What is in it is checked by whoever reads it.
  services: object,
  match: func,
  otherwise: implementing('a Dispatcher', 'dispatch'),
};

/** Options over others: groups such as `timeout` are merged key by key, everything else is replaced. */
export function merged<O extends ServiceOptions>(common: O, own: O): O {
  const result = { ...common } as Record<string, unknown>;
  for (const [key, value] of Object.entries(own)) {
    if (value === undefined) continue;
    const before = result[key];
    result[key] = isGroup(key, before) && isGroup(key, value) ? { ...before, ...value } : value;
  }
  return result as O;
}

const groups = new Set(['timeout', 'retry', 'hedge', 'queue', 'circuit', 'pool', 'tls']);

function isGroup(key: string, value: unknown): value is object {
  return groups.has(key) && typeof value === 'object' && value !== null;
}

/** What may be said at construction only. */
export function checkFixed(options: object, ...names: readonly string[]): void {
  for (const name of names) {
    if ((options as Record<string, unknown>)[name] !== undefined)
      throw new TypeError(`option ${name} of a running client cannot be changed`);
  }
}

export function checkServiceOptions(factory: string, options: unknown): void {
  checkOptions(factory, serviceShape, options);
}
