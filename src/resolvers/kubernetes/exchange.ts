import type { Dispatcher } from 'undici';
import { WatchError } from './errors.ts';
import { refusal, unreachable } from './refusals.ts';

/** Bytes of an error's body that are read: a Status object has a few hundred. */
const errorBodyLimit = 16_384;
/** Bytes of an error's body after which its sender is stopped. */
const patienceLimit = 1_048_576;
/** Hears what comes of a request; after `onEnd` or `onError` nothing more. */
export interface Reply {
  /** 200: the body follows. */
  onHead(): void;
  onData(chunk: Buffer): void;
  /** The body came to its proper end. */
  onEnd(): void;
  /** Any other status, and whatever else went wrong. */
  onError(error: WatchError): void;
}

/** One GET, as undici's handler. */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #reply: Reply;
  readonly #again: (status: number) => boolean;
  #server = '';
  #certificateEnd: Date | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #done = false;
  #status = 0;
  #headers: Record<string, string | string[] | undefined> = {};
  #errorBody: Buffer[] = [];
  #errorBytes = 0;
  #repeating = false;
  #paused = false;
  /** Times sent. */
  attempts = 0;

  /** `again` may send the request anew for a status, and says whether it does. */
  constructor(reply: Reply, again: (status: number) => boolean) {
    this.#reply = reply;
    this.#again = again;
  }

  /** To be called right before each dispatch. */
  start(server: string, certificateEnd: Date | undefined): void {
    this.attempts++;
    this.#server = server;
    this.#certificateEnd = certificateEnd;
    this.#repeating = false;
    this.#errorBody = [];
    this.#errorBytes = 0;
  }

  /** Ends the exchange without a word. */
  abort(): void {
    this.#done = true;
    this.#controller?.abort(new Error('no longer wanted'));
  }

  pause(): void {
    this.#paused = true;
    this.#controller?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#controller?.resume();
  }

  get paused(): boolean {
    return this.#paused;
  }

  fail(error: WatchError): void {
    if (this.#done) return;
    this.#done = true;
    this.#reply.onError(error);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#done) controller.abort(new Error('no longer wanted'));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200 || this.#done) return;
    this.#status = status;
    this.#headers = headers;
    const type = String(headers['content-type'] ?? 'application/json');
    if (status === 200 && type.includes('json')) this.#reply.onHead();
    else if (status === 200) {
      this.fail(
        new WatchError(
          `${this.#server} answers with ${type.split(';', 1)[0]} where the Kubernetes API speaks JSON: is it the address of an API server?`,
          'STEERSMAN_ERR_API',
          { status },
        ),
      );
      this.#controller?.abort(new Error('not JSON'));
    }
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#done) return;
    if (this.#status === 200) {
      this.#reply.onData(chunk);
      return;
    }
    this.#errorBody.push(chunk.subarray(0, Math.max(0, errorBodyLimit - this.#errorBytes)));
    this.#errorBytes += chunk.length;
    if (this.#errorBytes > patienceLimit) this.#controller?.abort(new Error('too long an error'));
  }

  onResponseEnd(): void {
    if (this.#done) return;
    if (this.#status !== 200) {
      this.#refused();
      return;
    }
    this.#done = true;
    this.#reply.onEnd();
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    if (this.#done || this.#repeating) return;
    if (this.#status !== 0 && this.#status !== 200) this.#refused();
    else this.fail(unreachable(this.#server, error));
  }

  #refused(): void {
    if (this.#again(this.#status)) {
      this.#repeating = true;
      this.#status = 0;
      return;
    }
    const text = Buffer.concat(this.#errorBody).toString('utf8');
    this.fail(refusal(this.#server, this.#status, text, this.#headers, this.#certificateEnd));
  }
}
