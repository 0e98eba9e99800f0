import type { Random } from '../../core/clock.ts';
import type { Place } from './place.ts';
import { type RequestBody, requestBody } from './request-body.ts';
import { RequestHeaders } from './request-headers.ts';

/** A call as the dispatch path takes it. */
export interface LeanRequest {
  readonly place: Place;
  readonly method: string;
  readonly headers: RequestHeaders;
  readonly body: RequestBody | undefined;
  readonly redirect: NonNullable<RequestInit['redirect']>;
  readonly signal: AbortSignal | undefined;
  /** What it was made of: the signal of a `Request` that is forgotten stops following the one it was given. */
  readonly from: Request | undefined;
}

/** Methods in the case that they are sent in; other methods are sent as they were given. */
const normalized: ReadonlyMap<string, string> = new Map(
  ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT'].map((method) => [method.toLowerCase(), method]),
);
const forbidden = /^(?:CONNECT|TRACE|TRACK)$/;

type Member = Readonly<Record<string, unknown>>;
type Read = (name: string) => unknown;

/** What a `Request` is to the platform, which does not ask what a subclass of it makes of that. */
export function memberOf(request: Request, name: string): unknown {
  return Reflect.get(Request.prototype, name, request);
}

/**
 * Reads the arguments of `fetch` the way the platform reads them. undefined for all that is better left to the
 * platform itself: what it refuses, whose errors are its own, and what services are not called with.
 */
export function leanRequest(
  place: Place,
  input: string | URL | Request,
  init: RequestInit | null | undefined,
  random: Random,
): LeanRequest | undefined {
  if (init == null && !(input instanceof Request)) {
    return {
      place,
      method: 'GET',
      headers: new RequestHeaders(),
      body: undefined,
      redirect: 'follow',
      signal: undefined,
      from: undefined,
    };
  }
  if (init != null && typeof init !== 'object') return undefined;
  const given = (init ?? {}) as Member;
  const request = input instanceof Request ? input : undefined;
  const from = request && ((name: string) => memberOf(request, name));
  // What kind of body a Request was made with, it does not tell.
  if (from !== undefined && from('body') !== null) return undefined;
  if (!isOrdinary(given, from)) return undefined;

  const method = methodOf(given['method'] ?? from?.('method'), given['method']);
  const headers = RequestHeaders.of(given['headers'] ?? from?.('headers') ?? given['headers']);
  if (method === undefined || headers === undefined || given['headers'] === null) return undefined;

  const { redirect = from?.('redirect') ?? 'follow' } = given;
  if (redirect !== 'follow' && redirect !== 'manual' && redirect !== 'error') return undefined;
  const { signal = from?.('signal') } = given;
  if (signal != null && !(signal instanceof AbortSignal)) return undefined;

  let body: RequestBody | undefined;
  if (given['body'] != null) {
    if (method === 'GET' || method === 'HEAD') return undefined;
    body = requestBody(given['body'], given['duplex'] === 'half' && !given['keepalive'], random);
    if (body === undefined) return undefined;
    if (body.type !== undefined && headers.get('content-type') === undefined)
      headers.append('content-type', body.type);
  }
  return { place, method, headers, body, redirect, signal: signal ?? undefined, from: request };
}

/** Whether everything that only the platform can do is as it is by default. */
function isOrdinary(given: Member, from: Read | undefined): boolean {
  const {
    mode = from?.('mode'),
    cache = from?.('cache'),
    integrity = from?.('integrity'),
    credentials,
    duplex,
  } = given;
  return (
    (mode === undefined || mode === 'cors') &&
    (cache === undefined || cache === 'default') &&
    (integrity === undefined || integrity === '') &&
    (credentials === undefined ||
      credentials === 'same-origin' ||
      credentials === 'include' ||
      credentials === 'omit') &&
    (duplex === undefined || duplex === 'half') &&
    given['referrer'] === undefined &&
    given['referrerPolicy'] === undefined &&
    given['priority'] === undefined &&
    given['window'] === undefined &&
    (from === undefined || (from('referrer') === 'about:client' && from('referrerPolicy') === ''))
  );
}

function methodOf(method: unknown, given: unknown): string | undefined {
  if (given === null) return undefined;
  if (method === undefined) return 'GET';
  if (typeof method !== 'string') return undefined;
  if (/^[A-Z]+$/.test(method)) return forbidden.test(method) ? undefined : method;
  return normalized.get(method.toLowerCase());
}
