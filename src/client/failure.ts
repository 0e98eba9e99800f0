import type { Dispatcher } from 'undici';
import type { FailureClass } from '../core/errors.ts';
import type { Attempt } from './attempt.ts';

/** HTTP/2's code for a stream that the peer did not look at. */
const refusedStream = 7;
/** What undici says, by words alone, of a stream that the peer's GOAWAY left out: one it did not look at either. */
const leftOut = /^HTTP\/2: "GOAWAY" frame received/;

/**
 * What may be done about a failed attempt. Decided by how far it came: the same `ECONNRESET` is harmless before
 * anything was written and ambiguous after.
 */
export function failureClass(attempt: Attempt, error: Error): FailureClass {
  if (attempt.phase === 'response') return 'committed';
  if (attempt.phase === 'unsent') return 'unsent';
  const { code, http2ErrorCode } = error as { code?: string; http2ErrorCode?: number };
  const refused = code === 'ERR_HTTP2_STREAM_ERROR' && http2ErrorCode === refusedStream;
  return refused || leftOut.test(error.message) ? 'refused' : 'ambiguous';
}

/** Errors that say the request itself is wrong: no endpoint will like it better, and none is to blame. */
const requestErrors = new Set([
  'UND_ERR_INVALID_ARG',
  'UND_ERR_INVALID_RETURN_VALUE',
  'UND_ERR_NOT_SUPPORTED',
  'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
  'ERR_INVALID_ARG_TYPE',
  'ERR_INVALID_CHAR',
  'ERR_HTTP_INVALID_HEADER_VALUE',
  // The file behind a Blob is not what it was.
  'NotReadableError',
]);

export function isRequestError(error: Error): boolean {
  return requestErrors.has(codeOf(error));
}

/** Errors that say that this process, or its host, has run out of something: no endpoint is to blame. */
const shortages = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);

export function isShortage(error: Error): boolean {
  return shortages.has(codeOf(error));
}

export function codeOf(error: Error): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : error.name;
}

const idempotentMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE', 'QUERY']);

/** Methods that may run twice (RFC 9110 §9.2.2, and QUERY). */
export function isIdempotentMethod(method: string): boolean {
  return idempotentMethods.has(method.toUpperCase());
}

/** The value of a header in any of the shapes that undici takes; the first one where there are several. */
export function headerValue(headers: unknown, name: string): string | undefined {
  const found = (value: unknown): string => String(Array.isArray(value) ? value[0] : value);
  if (Array.isArray(headers) && !Array.isArray(headers[0])) {
    for (let i = 0; i < headers.length - 1; i += 2) {
      if (String(headers[i]).toLowerCase() === name) return found(headers[i + 1]);
    }
    return undefined;
  }
  if (typeof headers !== 'object' || headers === null) return undefined;
  const entries =
    Symbol.iterator in headers ? (headers as Iterable<readonly [string, unknown]>) : Object.entries(headers);
  for (const [key, value] of entries) {
    if (key.toLowerCase() === name && value !== undefined && value !== null) return found(value);
  }
  return undefined;
}

/**
 * `Retry-After` in ms: seconds, or an HTTP date (RFC 9110 §10.2.3). undefined when it is absent or nonsense.
 */
export function retryAfter(value: string | undefined, wallClock: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (/^\d+$/.test(text)) return Number(text) * 1_000;
  // The form of C's asctime names no zone, and means GMT.
  const zoned = / \d{4}$/.test(text) ? `${text} GMT` : text;
  const date = /^[A-Za-z]{3,9},? /.test(text) ? Date.parse(zoned) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - wallClock);
}

/** The headers, in whatever shape they are, and one more, unless they have it. */
export function withHeader(headers: Headers, name: string, value: string): Headers {
  if (headerValue(headers, name) !== undefined) return headers;
  if (headers == null) return { [name]: value };
  if (Array.isArray(headers)) return [...headers, name, value];
  if (Symbol.iterator in headers) return [...(headers as Iterable<[string, string]>), [name, value]] as never;
  return { ...headers, [name]: value };
}

type Headers = NonNullable<Dispatcher.DispatchOptions['headers']> | null;
