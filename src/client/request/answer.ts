import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { isError } from '../../core/errors.ts';
import { errors } from '../../undici/index.ts';
import { isStream, minded } from '../body.ts';
import { type Follower, follow, unfollow } from '../following.ts';
import { type BodySource, ResponseBody } from './response-body.ts';

type Resolve = (answer: Dispatcher.ResponseData) => void;

/** What becomes of one request: the handler that makes of it what `undici.request` returns. */
export class Answer implements Dispatcher.DispatchHandler, BodySource, Follower {
  readonly #signal: AbortSignal | undefined;
  readonly #sent: unknown;
  readonly #head: boolean;
  readonly #resolve: Resolve;
  readonly #reject: (error: unknown) => void;
  readonly #trailers: Record<string, string> = {};
  #call: Dispatcher.DispatchController | undefined;
  #headers: IncomingHttpHeaders | undefined;
  #body: ResponseBody | undefined;
  /** Nothing comes any more. */
  #over = false;
  #aborted = false;

  constructor(
    { signal, body, method }: Dispatcher.RequestOptions,
    resolve: Resolve,
    reject: (error: unknown) => void,
  ) {
    this.#signal = (signal as AbortSignal | null | undefined) ?? undefined;
    this.#sent = body;
    this.#head = method === 'HEAD';
    this.#resolve = resolve;
    this.#reject = reject;
    if (this.#signal === undefined) return;
    if (this.#signal.aborted) this.signalled(this.#signal.reason);
    else follow(this.#signal, this);
  }

  onRequestStart(call: Dispatcher.DispatchController): void {
    this.#call = call;
    if (this.#aborted) call.abort(new errors.RequestAbortedError());
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    statusCode: number,
    headers: IncomingHttpHeaders,
    statusText = '',
  ): void {
    if (statusCode < 200 || this.#over) return;
    this.#headers = headers;
    const body = new ResponseBody(this);
    this.#body = body;
    this.#resolve({
      statusCode,
      statusText,
      headers,
      trailers: this.#trailers,
      opaque: null,
      body: body as never,
      context: null as never,
    });
  }

  onResponseData(call: Dispatcher.DispatchController, piece: Buffer): void {
    if (this.#over || this.#body === undefined) return;
    if (!ResponseBody.receive(this.#body, piece)) call.pause();
  }

  onResponseEnd(_: Dispatcher.DispatchController, trailers: IncomingHttpHeaders): void {
    this.#call = undefined;
    for (const name of Object.keys(trailers ?? {})) {
      const value = trailers[name];
      Object.defineProperty(this.#trailers, name, {
        value,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
    const body = this.#body;
    if (this.#over || body === undefined) return;
    if (!ResponseBody.touched(body)) this.#leave();
    ResponseBody.end(body);
  }

  onResponseError(_: Dispatcher.DispatchController | null, error: Error): void {
    this.#call = undefined;
    // Behind what has come and waits to be read.
    if (this.#body !== undefined) queueMicrotask(() => this.#fail(error));
    else this.#fail(error);
    const sent = this.#sent;
    if (!isStream(sent) || typeof sent.destroy !== 'function') return;
    minded(sent);
    sent.destroy(error);
  }

  // The caller's signal, and the reader of the body.

  signalled(reason: unknown): void {
    this.#aborted = true;
    this.#fail(reason ?? new errors.RequestAbortedError());
    this.#call?.abort(isError(reason) ? reason : new errors.RequestAbortedError());
  }

  get contentType(): string | undefined {
    return this.#headers?.['content-type'];
  }

  get contentLength(): number | undefined {
    const length = this.#headers?.['content-length'];
    return this.#head || length === undefined ? undefined : Number(length);
  }

  resume(): void {
    if (this.#call?.paused) this.#call.resume();
  }

  abort(): void {
    this.#call?.abort(new errors.RequestAbortedError());
  }

  check(): void {
    if (this.#signal?.aborted && !this.#over) this.signalled(this.#signal.reason);
  }

  touched(): void {
    const signal = this.#signal;
    if (signal === undefined || this.#over) return;
    follow(signal, this);
    this.#body?.once('close', () => unfollow(signal, this));
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#leave();
    if (this.#body === undefined) this.#reject(error);
    else ResponseBody.fail(this.#body, error);
  }

  #leave(): void {
    if (this.#signal !== undefined) unfollow(this.#signal, this);
  }
}
