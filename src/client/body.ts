import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { errors } from '../undici/index.ts';

export type RequestBody = Dispatcher.DispatchOptions['body'];

type Chunks = AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;

/** Whether a body is read as it is sent, so that it cannot simply be given to undici twice. */
function isStreamed(body: unknown): body is Chunks {
  if (typeof body !== 'object' || body === null || ArrayBuffer.isView(body) || body instanceof ArrayBuffer)
    return false;
  if (isStream(body)) return true;
  // The platform's or undici's, which are two.
  if (body instanceof Blob || (body as FormData)[Symbol.toStringTag] === 'FormData') return false;
  return Symbol.asyncIterator in body || Symbol.iterator in body;
}

/**
 * A streamed request body that may have to be sent again. Not read at all, it can be; while it is read, up to `limit`
 * bytes are kept, and what was read to its end within the limit can be sent again from there.
 */
export class StreamedBody {
  readonly #source: Chunks;
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

  private constructor(source: Chunks, limit: number) {
    this.#source = source;
    this.#limit = limit;
    // An error event that nobody awaits would end the process.
    if (isStream(source)) source.once('error', this.#onError);
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

  /** Bytes, where they are known before it is read. */
  get length(): number | undefined {
    if (this.#ended && this.#chunks !== undefined) return this.#size;
    return this.#started ? undefined : lengthOf(this.#source as Partial<WithState>);
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
    const source = this.#source;
    this.#started = true;
    if (isStream(source)) source.off('error', this.#onError);
    try {
      for await (const chunk of iterable(source)) {
        this.#keep(chunk);
        yield chunk;
      }
      this.#ended = true;
    } catch (error) {
      this.#failed = true;
      // undici takes a stream that fails without a reason for one that goes on.
      const reason = error || new Error('request body failed without a reason');
      this.#error = isCutShort(source as Partial<Readable>) ? new errors.RequestAbortedError() : reason;
      throw this.#error;
    } finally {
      // A stream may leave that to its reader.
      (source as Partial<Readable>).destroy?.();
    }
  }

  /** It fails before it is read. */
  readonly #onError = (error: unknown): void => {
    this.#failed = true;
    this.#error = error;
  };

  #keep(chunk: Uint8Array | string): void {
    if (this.#chunks === undefined) return;
    this.#size += typeof chunk === 'string' ? Buffer.byteLength(chunk) : chunk.byteLength;
    // Nor is anything kept that has no size: undici refuses it.
    if (!(this.#size <= this.#limit)) this.#chunks = undefined;
    // Copied: a source may use its buffer again.
    else this.#chunks.push(typeof chunk === 'string' ? chunk : copied(chunk));
  }
}

/** The bytes of any view, of which `Uint8Array.from` would take the elements. */
function copied({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength).slice();
}

interface WithState extends Readable {
  readonly _readableState: { readonly ended: boolean };
}

/**
 * Hears of the failure of a stream that nobody reads yet, which would end the process; whoever reads it later finds
 * that it has failed. The returned function ends this.
 */
export function minded(body: unknown): () => void {
  if (!isStream(body)) return nothing;
  body.on('error', nothing);
  return () => void body.off('error', nothing);
}

function nothing(): void {}

/** As undici sees it. Not all can be iterated: streams from before that, such as those of the `form-data` package. */
export function isStream(body: unknown): body is Readable {
  const { pipe, on } = (body ?? {}) as Partial<Readable>;
  return typeof pipe === 'function' && typeof on === 'function';
}

function iterable(source: Chunks): Chunks {
  if (Symbol.asyncIterator in source || Symbol.iterator in source) return source;
  const old = source as unknown as Readable;
  const stream = new Readable().wrap(old);
  old.resume();
  return stream;
}

/** Of a stream of which everything has come, as undici finds out. Decoded text is counted in characters. */
function lengthOf(stream: Partial<WithState>): number | undefined {
  if (stream.readableObjectMode !== false || stream.readableEncoding !== null) return undefined;
  stream.read?.(0);
  return stream._readableState?.ended ? stream.readableLength : undefined;
}

/** Whether it is a stream that was destroyed without an error. To undici that is an abort, to Node a premature close. */
function isCutShort({ destroyed, errored, readableEnded }: Partial<Readable>): boolean {
  return destroyed === true && errored === null && readableEnded === false;
}
