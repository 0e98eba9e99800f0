import type { CircuitSettings } from '../health/circuit.ts';
import type { ServiceCircuitSettings } from '../health/service-circuit.ts';
import type { ServiceOptions } from './options.ts';

/** The options of a service with every default filled in, flat. Durations in ms. */
export interface Settings {
  readonly total: number;
  readonly attempt: number;
  readonly connect: number;
  readonly resolve: number;
  readonly idle: number;
  /** 1 when retries are off; what was provably not sent goes elsewhere all the same, unless `retry` is false. */
  readonly attempts: number;
  readonly retry: boolean;
  readonly statuses: ReadonlySet<number>;
  readonly backoffMin: number;
  readonly backoffMax: number;
  readonly maxRetryAfter: number;
  readonly bodyLimit: number;
  readonly budget: { readonly ratio: number; readonly minPerSecond: number; readonly window: number } | false;
  /** Name of the header that tells what is left of `total`. */
  readonly deadlineHeader: string | undefined;
  readonly hedge: { readonly delay: number | undefined; readonly percentile: number | undefined } | false;
  /** Calls that one endpoint may have at a time, those that wait for a connection included. */
  readonly endpointLimit: number;
  /** Calls that may wait in all. */
  readonly totalQueue: number;
  readonly endpointCircuit: CircuitSettings | false;
  readonly serviceCircuit: ServiceCircuitSettings | false;
  readonly panicThreshold: number;
  readonly slowStart: number;
  readonly drainTimeout: number;
  /** ms after which the connections of a service's only endpoint are renewed; Infinity where the pools do it. */
  readonly soleConnectionAge: number;
}

/** Streams that undici opens on one HTTP/2 connection. */
const streams = 100;

export function settingsOf(options: ServiceOptions): Settings {
  const { timeout = {}, retry = {}, hedge = false, circuit = {}, pool = {}, queue = {} } = options;
  const { endpoint = {}, service = false } = circuit;
  const tries = retry === false ? {} : retry;
  // Hedges are paid from it, too.
  const { budget = {} } = tries;
  return {
    total: timeout.total ?? 10_000,
    attempt: timeout.attempt ?? Number.POSITIVE_INFINITY,
    connect: timeout.connect ?? 1_000,
    resolve: timeout.resolve ?? 5_000,
    idle: timeout.idle ?? 300_000,
    attempts: retry === false ? 1 : (tries.attempts ?? 3),
    retry: retry !== false,
    statuses: new Set(tries.statuses ?? [502, 503, 504]),
    backoffMin: tries.backoff?.min ?? 25,
    backoffMax: tries.backoff?.max ?? 250,
    maxRetryAfter: tries.maxRetryAfter ?? 10_000,
    bodyLimit: tries.bodyLimit ?? 65_536,
    budget: budget && {
      ratio: budget.ratio ?? 0.2,
      minPerSecond: budget.minPerSecond ?? 10,
      window: budget.window ?? 10_000,
    },
    deadlineHeader: timeout.header?.toLowerCase(),
    hedge: hedge && { delay: hedge.delay, percentile: hedge.percentile },
    // Where connections are not limited nothing waits for one longer than it takes to make it.
    endpointLimit:
      (pool.connections ?? Number.POSITIVE_INFINITY) * (pool.allowH2 === true ? streams : 1) +
      (queue.endpoint ?? 100),
    totalQueue: queue.total ?? 10_000,
    endpointCircuit: endpoint && {
      consecutive: endpoint.consecutive ?? 5,
      rate: endpoint.rate ?? 0.85,
      volume: endpoint.volume ?? 50,
      window: endpoint.window ?? 10_000,
      ejection: endpoint.ejection ?? 5_000,
      maxEjection: endpoint.maxEjection ?? 300_000,
    },
    serviceCircuit: service && {
      rate: service.rate ?? 0.5,
      volume: service.volume ?? 20,
      window: service.window ?? 10_000,
      reset: service.reset ?? 5_000,
    },
    panicThreshold: options.panicThreshold ?? 0.5,
    slowStart: options.slowStart || 0,
    drainTimeout: pool.drainTimeout ?? 30_000,
    soleConnectionAge: pool.maxConnectionAge === undefined ? 30_000 : Number.POSITIVE_INFINITY,
  };
}
