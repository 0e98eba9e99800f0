import { types } from 'node:util';
import { type Target, targetName } from './target.ts';

/** How far an attempt came: nothing was sent; sent without an answer; the answer had begun. */
export type Phase = 'unsent' | 'sent' | 'response';

/**
 * What may be done about a failed attempt: `unsent` may go elsewhere whatever the method, `refused` likewise (the
 * peer says it did nothing), `ambiguous` only when idempotent, `committed` never.
 */
export type FailureClass = 'unsent' | 'refused' | 'ambiguous' | 'committed';

/** One try of a call, as errors report it. */
export interface Attempt {
  /** `address:port` of the endpoint, or its pod's name where known. */
  readonly endpoint: string;
  readonly phase: Phase;
  readonly class: FailureClass;
  /** Error code or HTTP status. */
  readonly code: string;
  readonly ms: number;
}

const brand: symbol = Symbol.for('steersman.DiscoveryError');
const warningBrand: symbol = Symbol.for('steersman.DiscoveryWarning');

/**
 * What all errors of this library's own share. Network errors pass through as they are. Each class says its name, which
 * a bundler's minifier would change otherwise.
 */
export abstract class DiscoveryError extends Error {
  abstract readonly code: string;
  /** `orders.shop:8080` */
  readonly target: string;
  /** What was tried, in order; empty where nothing was. */
  readonly attempts: readonly Attempt[];

  constructor(
    message: string,
    target: Target | string,
    options?: { cause?: unknown; attempts?: readonly Attempt[] },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.target = typeof target === 'string' ? target : targetName(target);
    this.attempts = options?.attempts ?? [];
  }
}

Object.defineProperty(DiscoveryError.prototype, brand, { value: true });

/** The name was never resolved in time; `cause` is the resolver's last error. */
export class ResolveError extends DiscoveryError {
  override readonly name = 'ResolveError';
  readonly code = 'STEERSMAN_ERR_RESOLVE';
}

/** Whether an error is a `ResolveError`, also one of another install, such as a resolver's own. */
export function isResolveError(error: unknown): error is ResolveError {
  return isDiscoveryError(error) && error.code === 'STEERSMAN_ERR_RESOLVE';
}

/** The name resolved to an empty set. */
export class NoEndpointsError extends DiscoveryError {
  override readonly name = 'NoEndpointsError';
  readonly code = 'STEERSMAN_ERR_NO_ENDPOINTS';
}

/** The opt-in circuit of the whole service is open. */
export class CircuitOpenError extends DiscoveryError {
  override readonly name = 'CircuitOpenError';
  readonly code = 'STEERSMAN_ERR_CIRCUIT_OPEN';
  /** ms until a trial call is let through. */
  readonly retryAfter: number;

  constructor(message: string, target: Target | string, retryAfter: number) {
    super(message, target);
    this.retryAfter = retryAfter;
  }
}

/** The total deadline of the call has passed. */
export class DeadlineError extends DiscoveryError {
  override readonly name = 'DeadlineError';
  readonly code = 'STEERSMAN_ERR_DEADLINE';
}

/** A bounded queue is full. */
export class OverloadError extends DiscoveryError {
  override readonly name = 'OverloadError';
  readonly code = 'STEERSMAN_ERR_OVERLOAD';
}

/** The client was closed. */
export class ClosedError extends DiscoveryError {
  override readonly name = 'ClosedError';
  readonly code = 'STEERSMAN_ERR_CLOSED';
}

/**
 * `fetch` throws `TypeError`s. One whose cause is a `DiscoveryError` is told as one as well: it has the brand, and the
 * cause's code, target and attempts, so that whoever asks `isDiscoveryError` need not look for causes.
 */
export function branded<E extends Error>(error: E): E {
  const { cause } = error;
  if (!isDiscoveryError(cause)) return error;
  const { code, target, attempts } = cause;
  for (const [key, value] of Object.entries({ code, target, attempts }))
    Object.defineProperty(error, key, { value });
  return Object.defineProperty(error, brand, { value: true });
}

/** Whether a value is an error, also one of another realm: a test runner that has one for each file leaves Node's own errors outside. */
export function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value);
}

/** Whether an error is this library's own, also across duplicate installs; `fetch` throws it as the `cause` of a `TypeError`. */
export function isDiscoveryError(error: unknown): error is DiscoveryError {
  return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[brand] === true;
}

/** Reported to `onError` when something is odd though the set is current, e.g. a truncated source. */
export class DiscoveryWarning extends Error {
  readonly code: string;

  constructor(message: string, code = 'STEERSMAN_WARN') {
    super(message);
    this.name = 'DiscoveryWarning';
    this.code = code;
  }
}

Object.defineProperty(DiscoveryWarning.prototype, warningBrand, { value: true });

/** Whether an error is a `DiscoveryWarning`, also one of another install. */
export function isDiscoveryWarning(error: Error): error is DiscoveryWarning {
  return (error as unknown as Record<symbol, unknown>)[warningBrand] === true;
}
