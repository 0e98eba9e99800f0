import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { errors } from '../undici/index.ts';

export type RequestBody = Dispatcher.DispatchOptions['body'];

/** Whether a body is read as it is sent, so that it cannot simply be given to undici twice. */
function isStreamed(body: unknown): body is AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  if (typeof body !== 'object' || body === null || ArrayBuffer.isView(body) || body instanceof ArrayBuffer)
    return false;
  // The platform's or undici's, which are two.
  if (body instanceof Blob || (body as FormData)[Symbol.toStringTag] === 'FormData') return false;
  return Symbol.asyncIterator in body || Symbol.iterator in body;
}

/**
 * A streamed request body that may have to be sent again. Not read at all, it can be; while it is read, up to `limit`
 * bytes are kept, and what was read to its end within the limit can be sent again from there.
 */
export class StreamedBody {
  readonly #source: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;
  readonly #limit: number;
  #chunks: (Uint8Array | string)[] | undefined = [];
  #size = 0;
  #started = false;
  #ended = false;
  #error: unknown;
  #failed = false;

  /** undefined for bodies that can be given to undici as they are, as often as needed. */
  static of(body: unknown, limit: number): StreamedBody | undefined {
    return isStreamed(body) ? new StreamedBody(body, limit) : undefined;
  }

  private constructor(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, limit: number) {
    this.#source = source;
    this.#limit = limit;
  }

  get replayable(): boolean {
    return !this.#failed && (!this.#started || (this.#ended && this.#chunks !== undefined));
  }

  /** Whether the user's own stream threw; `error` is what. */
  get failed(): boolean {
    return this.#failed;
  }

  get error(): unknown {
    return this.#error;
  }

  /** Nobody will read it any more: what has not been begun need not be left open. */
  discard(): void {
    if (!this.#started) (this.#source as Partial<Readable>).destroy?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array | string> {
    if (this.#ended && this.#chunks !== undefined) {
      yield* this.#chunks;
      return;
    }
    this.#started = true;
    try {
      for await (const chunk of this.#source) {
        this.#keep(chunk);
        yield chunk;
      }
      this.#ended = true;
      // A stream may leave that to its reader.
      (this.#source as Partial<Readable>).destroy?.();
    } catch (error) {
      this.#failed = true;
      // undici takes a stream that fails without a reason for one that goes on.
      const reason = error || new Error('request body failed without a reason');
      this.#error = isCutShort(this.#source as Partial<Readable>) ? new errors.RequestAbortedError() : reason;
      throw this.#error;
    }
  }

  #keep(chunk: Uint8Array | string): void {
    if (this.#chunks === undefined) return;
    this.#size += typeof chunk === 'string' ? Buffer.byteLength(chunk) : chunk.byteLength;
    if (this.#size > this.#limit) this.#chunks = undefined;
    // Copied: a source may use its buffer again.
    else this.#chunks.push(typeof chunk === 'string' ? chunk : Uint8Array.from(chunk));
  }
}

/** Whether it is a stream that was destroyed without an error. To undici that is an abort, to Node a premature close. */
function isCutShort({ destroyed, errored, readableEnded }: Partial<Readable>): boolean {
  return destroyed === true && errored === null && readableEnded === false;
}
