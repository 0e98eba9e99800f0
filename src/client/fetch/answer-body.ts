import { pipeline, Readable } from 'node:stream';
import type { UnderlyingByteSource as ByteSource } from 'node:stream/web';
import { joined } from '../bytes.ts';
import { decodersOf } from './decoding.ts';

/** Whose body it is. */
export interface BodyOwner {
  /** Fails the body if the caller's signal has aborted since all of it was here. */
  check(): void;
  /** More is wanted. */
  resume(): void;
  /** The rest is not, and this is why. */
  signalled(reason: unknown): void;
  /** It cannot be decoded, and this is why. */
  broke(cause: unknown): void;
  /** So many bytes were read. */
  wasRead(bytes: number): void;
  /** All of it was read. */
  finish(): void;
}

/** Received and not yet read, in bytes; beyond this the server has to wait. The platform's measure. */
const highWaterMark = 65_536;

/** The body of an answer, decoded: the source of the stream that a `Response` has, which asks when somebody reads. */
export class AnswerBody implements ByteSource {
  readonly #owner: BodyOwner;
  #chunks: Uint8Array[] = [];
  #buffered = 0;
  #ended = false;
  #failed = false;
  #error: unknown;
  /** The reader has asked for more than there was. */
  #wanted = false;
  #stream: ReadableByteStreamController | undefined;
  /** Takes what is received, when that has to be decoded. */
  #encoded: Readable | undefined;
  #decoded: AsyncIterator<Uint8Array> | undefined;

  /** @throws {Error} when the encoding has too many layers. */
  constructor(owner: BodyOwner, encoding: string | undefined) {
    this.#owner = owner;
    if (encoding !== undefined) this.#decode(encoding);
  }

  // What the exchange tells.

  /** Whether there is room for more. */
  receive(chunk: Buffer): boolean {
    if (this.#encoded !== undefined) return this.#encoded.push(chunk);
    if (this.#wanted) {
      this.#wanted = false;
      this.#enqueue(new Uint8Array(chunk));
      return true;
    }
    this.#chunks.push(chunk);
    this.#buffered += chunk.byteLength;
    return this.#buffered < highWaterMark;
  }

  end(): void {
    this.#ended = true;
    if (this.#encoded !== undefined) this.#encoded.push(null);
    else if (this.#wanted) this.#close();
  }

  fail(error: unknown): void {
    this.#failed = true;
    this.#error = error;
    this.#stream?.error(error);
    this.#stream = undefined;
    this.#encoded?.destroy();
  }

  /** Whether all of it is here, as it is to be read. */
  get whole(): boolean {
    return this.#ended && this.#decoded === undefined;
  }

  /** Takes all of it, once it is whole. Nobody may have begun to read it. */
  takeWhole(): readonly Uint8Array[] | undefined {
    if (!this.whole || !this.#good()) return undefined;
    this.#owner.wasRead(this.#buffered);
    this.#owner.finish();
    const whole = this.#chunks;
    this.#chunks = [];
    return whole;
  }

  // What the stream asks.

  get type(): 'bytes' {
    return 'bytes';
  }

  start(stream: ReadableByteStreamController): void {
    this.#stream = stream;
    if (!this.#good()) stream.error(this.#error);
  }

  pull(): void | Promise<void> {
    if (this.#decoded !== undefined) return this.#pullDecoded(this.#decoded);
    if (!this.#good()) return;
    if (this.#buffered > 0) this.#enqueue(this.#take());
    else if (this.#ended) this.#close();
    else this.#wanted = true;
    this.#owner.resume();
  }

  cancel(reason: unknown): void {
    this.#stream = undefined;
    this.#owner.signalled(reason);
  }

  async #pullDecoded(decoded: AsyncIterator<Uint8Array>): Promise<void> {
    try {
      const { done, value } = await decoded.next();
      if (done) this.#close();
      else this.#enqueue(new Uint8Array(value));
    } catch (error) {
      this.#owner.broke(error);
    }
  }

  #enqueue(bytes: Uint8Array<ArrayBuffer>): void {
    this.#owner.wasRead(bytes.byteLength);
    this.#stream?.enqueue(bytes);
  }

  #close(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#owner.finish();
    stream?.close();
    stream?.byobRequest?.respond(0);
  }

  /** What is here as a whole does not follow its signal any more, until somebody reads it. */
  #good(): boolean {
    this.#owner.check();
    return !this.#failed;
  }

  /** Everything received and not yet read, in one piece. */
  #take(): Uint8Array<ArrayBuffer> {
    const bytes = joined(this.#chunks);
    this.#chunks = [];
    this.#buffered = 0;
    return bytes;
  }

  #decode(encoding: string): void {
    const decoders = decodersOf(encoding);
    if (decoders.length === 0) return;
    const encoded = new Readable({ read: () => this.#owner.resume() });
    const decoded = pipeline([encoded, ...decoders], (error) => {
      if (error) this.#owner.broke(error);
    }) as unknown as Readable;
    this.#encoded = encoded;
    this.#decoded = decoded[Symbol.asyncIterator]();
  }
}
