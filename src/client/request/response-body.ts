import { addAbortListener } from 'node:events';
import { Readable } from 'node:stream';
import { errors } from '../../undici/index.ts';
import { highWaterMark, LateReadable } from './late-readable.ts';
import { type Form, wholeAs } from './whole.ts';

/** Where a body comes from. */
export interface BodySource {
  /** As the response has it. */
  readonly contentType: string | undefined;
  /** Bytes, where the response says so. */
  readonly contentLength: number | undefined;
  /** More is wanted. */
  resume(): void;
  /** The rest is not. */
  abort(): void;
  /** Fails the body if the caller's signal has aborted since all of it was here. */
  check(): void;
  /** The body is a stream from now on, which fails when the signal aborts, until it closes. */
  touched(): void;
}

interface Reader {
  readonly form: Form;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** What `dump()` reads at most, in bytes, so that the connection can be used again. undici's measure. */
const dumpLimit = 128 * 1024;

const nothing = (): void => {};

/**
 * The body of a response, as `undici.request` has it: a Node stream that can also be read as a whole. It is set up as
 * a stream only when it is used as one.
 */
export class ResponseBody extends LateReadable {
  readonly #source: BodySource;
  /** What has come, as long as nobody reads it as a stream. */
  #pieces: Uint8Array[] = [];
  /** Bytes received in all. */
  #received = 0;
  /** Set up as a stream, which has everything from then on. */
  #touched = false;
  #ended = false;
  #failed = false;
  #error: unknown;
  /** Somebody reads it, or has read it, as a whole. */
  #taken = false;
  /** Waits for the end. */
  #reader: Reader | undefined;
  #web: ReadableStream | undefined;

  constructor(source: BodySource) {
    super();
    this.#source = source;
  }

  // What comes from the source.

  /** Whether there is room for more. */
  static receive(body: ResponseBody, piece: Buffer): boolean {
    body.#received += piece.byteLength;
    if (body.#taken || !body.bodyUsed) body.#pieces.push(piece);
    else body.#pieces = [];
    if (body.#touched) return body.push(piece);
    return body.#reader !== undefined || body.#received < highWaterMark;
  }

  static end(body: ResponseBody): void {
    body.#ended = true;
    if (body.#touched) body.push(null);
    else if (body.#reader !== undefined) body.#finish(body.#reader, body.#pieces);
  }

  static fail(body: ResponseBody, error: unknown): void {
    if (body.#touched) {
      body.on('error', nothing).destroy(error as Error);
      return;
    }
    body.#failed = true;
    body.#error = error;
    body.#pieces = [];
    body.#reader?.reject(error);
    body.#reader = undefined;
  }

  static touched(body: ResponseBody): boolean {
    return body.#touched;
  }

  // Read as a whole.

  text(): Promise<string> {
    return this.#take('text') as Promise<string>;
  }

  json(): Promise<unknown> {
    return this.#take('json');
  }

  bytes(): Promise<Uint8Array> {
    return this.#take('bytes') as Promise<Uint8Array>;
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return this.#take('arrayBuffer') as Promise<ArrayBuffer>;
  }

  blob(): Promise<Blob> {
    return this.#take('blob') as Promise<Blob>;
  }

  /** As undici's, which has none. */
  formData(): Promise<never> {
    return Promise.reject(new errors.NotSupportedError());
  }

  get bodyUsed(): boolean {
    return this.#touched ? Readable.isDisturbed(this) : this.#taken || this.#failed;
  }

  /** The same as a stream of the web platform. */
  get body(): ReadableStream {
    if (this.#web === undefined) {
      this.#web = ReadableStream.from(this) as ReadableStream;
      // Nobody else may read it then.
      if (this.#taken) this.#web.getReader();
    }
    return this.#web;
  }

  /**
   * Reads the rest and throws it away, so that the connection can be used again; or cuts it off, where it is longer
   * than `limit` bytes (128 KiB).
   */
  dump(given?: { limit?: number; signal?: AbortSignal }): Promise<void> {
    const { signal } = given ?? {};
    const limit = given?.limit && Number.isFinite(given.limit) ? given.limit : dumpLimit;
    if (signal != null && (typeof signal !== 'object' || !('aborted' in signal)))
      return Promise.reject(new errors.InvalidArgumentError('signal must be an AbortSignal'));
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (!this.#touched && this.#ended && !this.#failed) {
      this.#taken = true;
      this.#pieces = [];
      return Promise.resolve();
    }
    if (this.closed) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if ((this.#source.contentLength ?? 0) > limit || this.#received > limit)
        this.destroy(new errors.RequestAbortedError());
      const listener = signal && addAbortListener(signal, () => this.destroy(signal.reason));
      this.on('close', () => {
        listener?.[Symbol.dispose]();
        if (signal?.aborted) reject(signal.reason);
        else resolve();
      });
      this.on('error', nothing);
      this.on('data', () => {
        if (this.#received > limit) this.destroy();
      });
      // Somebody may have paused it.
      this.resume();
    });
  }

  // As a stream.

  override setEncoding(encoding: BufferEncoding): this {
    // As undici's, which takes no notice of others.
    return Buffer.isEncoding(encoding) ? super.setEncoding(encoding) : this;
  }

  override _read(): void {
    this.#source.resume();
  }

  override _destroy(given: Error | null, callback: (error?: Error | null) => void): void {
    const error = given ?? (this.readableEnded ? null : new errors.RequestAbortedError());
    if (error !== null) this.#source.abort();
    // Nobody could have listened for errors yet.
    if (this.readableFlowing === null) setImmediate(callback, error);
    else callback(error);
  }

  _setUp(): void {
    if (!this.#taken) this.#source.check();
    this.#touched = true;
    const reader = this.#reader;
    this.#reader = undefined;
    if (this.#taken && this.#ended && reader === undefined) {
      Object.assign((this as unknown as WithState)._readableState, readToTheEnd, {
        errored: this.#error ?? null,
      });
    } else if (this.#failed) {
      this.on('error', nothing).destroy(this.#error as Error);
    } else {
      for (const piece of this.#pieces) this.push(piece);
      if (this.#ended) this.push(null);
      if (reader !== undefined) this.#read(reader);
      this.#source.touched();
    }
  }

  #take(form: Form): Promise<unknown> {
    if (this.#taken || this.#web?.locked || this.bodyUsed) return this.#refuse();
    if (!this.#touched) this.#source.check();
    if (this.#failed) return this.#refuse();
    this.#taken = true;
    return new Promise((resolve, reject) => {
      const reader: Reader = { form, resolve, reject };
      if (this.#touched) {
        this.#read(reader);
        return;
      }
      this.#reader = reader;
      if (!this.#ended) this.#source.resume();
      // Who reads it as a whole may listen to it as a stream besides.
      else queueMicrotask(() => this.#reader && this.#finish(reader, this.#pieces));
    });
  }

  #refuse(): Promise<never> {
    const unusable = new TypeError('unusable');
    if (!this.#touched) return Promise.reject(this.#failed ? this.#error : unusable);
    if (!this.destroyed || this.closed) return Promise.reject(this.errored ?? unusable);
    return new Promise((_, reject) => {
      this.on('error', reject).on('close', () => reject(unusable));
    });
  }

  /** Reads it as a whole although it is a stream by now. */
  #read(reader: Reader): void {
    const finish = (): void => this.#finish(reader, this.#pieces, this.readableEncoding ?? undefined);
    if (this.readableEnded) {
      finish();
      return;
    }
    this.on('error', reader.reject).on('close', () => reader.reject(new errors.RequestAbortedError()));
    this.on('end', finish);
    // Whoever pauses it in the same breath does not mean this.
    queueMicrotask(() => this.resume());
  }

  #finish({ form, resolve, reject }: Reader, pieces: readonly Uint8Array[], encoding?: BufferEncoding): void {
    this.#reader = undefined;
    this.#pieces = [];
    try {
      resolve(wholeAs(form, pieces, this.#source.contentType, encoding));
    } catch (error) {
      reject(error);
      if (this.#touched) this.destroy(error as Error);
      else ResponseBody.fail(this, error);
    }
  }
}

interface WithState {
  readonly _readableState: object;
}

/** The state of a Node stream that was. */
const readToTheEnd = {
  ended: true,
  endEmitted: true,
  dataEmitted: true,
  destroyed: true,
  closed: true,
  closeEmitted: true,
  flowing: true,
};
