import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { branded, isError } from '../../core/errors.ts';
import { platformHandler } from '../../undici/legacy-handler.ts';
import type { CallDispatchOptions, CallOptions } from '../call.ts';
import { type Follower, follow, unfollow } from '../following.ts';
import { AnswerBody, type BodyOwner } from './answer-body.ts';
import { redirectedRequest } from './redirect.ts';
import type { LeanRequest } from './request.ts';
import { cancelWhenForgotten, type ResponseHead, serviceResponse } from './response.ts';
import { Timing } from './timing.ts';

/** Where requests are sent. */
export interface Sender {
  dispatch(options: CallDispatchOptions, handler: Dispatcher.DispatchHandler): unknown;
}

export interface Route {
  /** Takes requests to the origin of the call. */
  readonly home: Sender;
  /** Takes all others: where redirects lead. Given handlers as the platform's fetch has them. */
  readonly elsewhere: Sender;
}

/** The body of an answer that is not wanted is read on up to this size, so that its connection can be used again. */
const discardLimit = 16_384;
/** Answers that have no body, whatever the server sends. */
const bodiless: ReadonlySet<number> = new Set([101, 204, 205, 304]);
const noHeaders: IncomingHttpHeaders = {};
const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** Answers of proxies, and of servers that are not responsible: the platform keeps these to itself. */
const proxyAuthentication = 407;
const misdirected = 421;

/** Sends a call over the dispatch path. Follows https://fetch.spec.whatwg.org/#http-fetch as far as it concerns servers. */
export async function exchange(request: LeanRequest, route: Route, options: CallOptions): Promise<Response> {
  const { signal, body } = request;
  if (signal?.aborted) {
    body?.cancel(signal.reason);
    throw signal.reason;
  }
  // Not the response itself: the exchange holds its promise, and nobody may hold a response that was dropped.
  const ended = await new Promise<Exchange>((resolve) => {
    const timing = new Timing(request.place);
    new Exchange(request, request.place.origin, route, options, timing, resolve).send();
  });
  // By now everything has been received that came in one piece with the headers.
  return ended.response();
}

/** One request of a call, and what becomes of it. A redirect is another exchange. */
class Exchange implements Dispatcher.DispatchHandler, BodyOwner, Follower, ResponseHead {
  readonly #request: LeanRequest;
  /** Of the call, wherever redirects have led since. */
  readonly #home: string;
  readonly #route: Route;
  readonly #options: CallOptions;
  readonly #timing: Timing;
  /** Tells that there is an answer, or that there will be none. */
  readonly #resolve: (ended: Exchange) => void;
  #redirects = 0;
  #misdirected = false;
  /** Redirects have led to another origin, on the way at least. */
  #tainted = false;
  #call: Dispatcher.DispatchController | undefined;
  /** Nothing it brings concerns the caller any more. */
  #over = false;
  #aborted = false;
  /** Why it was aborted, or why there is no answer. */
  #reason: unknown;
  /** 0 before there is an answer. */
  status = 0;
  statusText = '';
  headers: IncomingHttpHeaders = noHeaders;
  /** What is received is not kept. */
  #discards = false;
  #discarded = 0;
  #body: AnswerBody | undefined;

  constructor(
    request: LeanRequest,
    home: string,
    route: Route,
    options: CallOptions,
    timing: Timing,
    resolve: (ended: Exchange) => void,
  ) {
    this.#request = request;
    this.#home = home;
    this.#route = route;
    this.#options = options;
    this.#timing = timing;
    this.#resolve = resolve;
  }

  send(): void {
    const { place, method, headers, body, signal } = this.#request;
    const { origin, path } = place;
    const { hashKey, idempotent } = this.#options;
    const options: Mutable<CallDispatchOptions> = {
      origin,
      path,
      method: method as Dispatcher.HttpMethod,
      headers: headers.toWire(place, body?.length) as string[],
      body: body === undefined ? null : (body.payload() as Readable),
    };
    if (hashKey !== undefined) options.hashKey = hashKey;
    if (idempotent !== undefined) options.idempotent = idempotent;
    if (signal !== undefined) follow(signal, this);
    const { home, elsewhere } = this.#route;
    try {
      if (origin === this.#home) home.dispatch(options, this);
      else elsewhere.dispatch(options, platformHandler(this));
    } catch (error) {
      this.#fail(error);
    }
  }

  response(): Response {
    // As in the platform's timeline: a failure is an entry, and a call that was aborted is not.
    if (this.status === 0 && !isAbort(this.#reason)) this.#timing.report(0);
    if (this.#aborted) throw this.#reason;
    // Made here, where the stack leads to the caller; that of the cause leads to where it failed.
    if (this.status === 0) throw branded(new TypeError('fetch failed', { cause: this.#reason }));
    const body = this.#body;
    if (body === undefined) this.#timing.report(this.status);
    const response = serviceResponse(body ?? null, this);
    if (body?.whole === false) cancelWhenForgotten(response);
    return response;
  }

  // What the response says of itself.

  get url(): string {
    return this.#request.place.href;
  }

  get redirected(): boolean {
    return this.#redirects > 0;
  }

  get tainting(): 'basic' | 'cors' {
    return this.#tainted ? 'cors' : 'basic';
  }

  // What the body asks.

  check(): void {
    const { signal } = this.#request;
    if (signal?.aborted) this.signalled(signal.reason);
  }

  resume(): void {
    if (this.#call?.paused) this.#call.resume();
  }

  wasRead(bytes: number): void {
    this.#timing.read += bytes;
  }

  // Ends.

  finish(): void {
    if (this.#over) return;
    this.#over = true;
    const { signal } = this.#request;
    if (signal !== undefined) unfollow(signal, this);
    if (this.status !== 0) this.#timing.report(this.status);
  }

  /** The caller does not want the rest. */
  signalled(reason: unknown): void {
    if (this.#over) return;
    this.finish();
    this.#aborted = true;
    this.#reason = reason;
    this.#request.body?.cancel(reason);
    this.#resolve(this);
    // A stream has no way to say that there was no reason.
    this.#body?.fail(reason || abortError());
    this.#call?.abort(toError(reason));
  }

  /** The rest cannot be had. */
  broke(cause: unknown): void {
    if (this.#over) return;
    this.finish();
    this.#body?.fail(new TypeError('terminated', { cause }));
    this.#call?.abort(toError(cause));
  }

  /** There is no answer. */
  #fail(cause: unknown): void {
    if (this.#over) return;
    this.finish();
    this.#request.body?.cancel(cause);
    this.#reason = cause;
    this.#resolve(this);
  }

  /** What it brings is not what the caller gets. A short rest is read, so that the connection can be used again. */
  #leave(): void {
    this.finish();
    this.#discards = true;
  }

  // What the request reports.

  onRequestStart(call: Dispatcher.DispatchController): void {
    this.#call = call;
    if (this.#aborted) call.abort(toError(this.#reason));
  }

  onResponseStart(
    _call: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    statusText?: string,
  ): void {
    if (status < 200 || this.#over) return;
    this.#timing.responded();
    try {
      if (this.#goesOn(status, headers)) return;
      this.#discards = this.#request.method === 'HEAD' || bodiless.has(status);
      if (!this.#discards) this.#body = new AnswerBody(this, combined(headers, 'content-encoding'));
    } catch (error) {
      this.#fail(error);
      this.#discards = true;
      return;
    }
    this.status = status;
    this.statusText = statusText ?? '';
    this.headers = headers;
    this.#resolve(this);
  }

  onResponseData(call: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#timing.received += chunk.byteLength;
    if (!this.#discards) {
      if (!this.#body?.receive(chunk)) call.pause();
      return;
    }
    this.#discarded += chunk.byteLength;
    if (this.#over && this.#discarded > discardLimit) call.abort(abortError());
  }

  onResponseEnd(): void {
    this.#call = undefined;
    const body = this.#body;
    if (body === undefined) {
      this.finish();
      return;
    }
    body.end();
    if (body.whole && this.#request.signal !== undefined) unfollow(this.#request.signal, this);
  }

  onResponseError(_call: Dispatcher.DispatchController | null, error: Error): void {
    if (this.status === 0) this.#fail(error);
    else this.broke(error);
  }

  /** Whether another request takes the place of this one. Throws what the caller gets instead of the answer. */
  #goesOn(status: number, headers: IncomingHttpHeaders): boolean {
    const request = this.#request;
    if (redirects.has(status) && request.redirect !== 'manual') {
      if (request.redirect === 'error') throw new Error('unexpected redirect');
      const next = redirectedRequest(request, status, combined(headers, 'location'), this.#redirects + 1);
      if (next === undefined) return false;
      this.#continue(next, this.#redirects + 1, false);
      return true;
    }
    if (status === proxyAuthentication) throw new Error();
    if (status !== misdirected || this.#misdirected || request.body?.replayable === false) return false;
    this.#continue(request, this.#redirects, true);
    return true;
  }

  #continue(request: LeanRequest, count: number, misdirected: boolean): void {
    this.#leave();
    if (!misdirected) this.#timing.redirected();
    const next = new Exchange(request, this.#home, this.#route, this.#options, this.#timing, this.#resolve);
    next.#redirects = count;
    next.#misdirected = misdirected;
    next.#tainted = this.#tainted || request.place.origin !== this.#home;
    next.send();
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The value of a header; of several, as one. */
function combined(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

function abortError(): DOMException {
  return new DOMException('The operation was aborted.', 'AbortError');
}

/** A reason that is none stands for an abort, too. */
function isAbort(reason: unknown): boolean {
  return !reason || (reason as Error).name === 'AbortError';
}

/** What a request can be aborted with. */
function toError(reason: unknown): Error {
  return isError(reason) ? reason : abortError();
}
