import { Readable } from 'node:stream';
import type { UnderlyingByteSource as ByteSource } from 'node:stream/web';

export type Bytes = ReadableStream<Uint8Array<ArrayBuffer>>;

/**
 * Streams of bytes that the platform sets up when somebody first touches them. Of most bodies nobody touches the
 * stream, since what is here as a whole is read without it, and to set one up costs a tenth of a call.
 */
export interface LateStreams {
  /** To be handed to `Response`, and to nobody else. */
  create(source: ByteSource): Bytes;
  /** What callers get to see of it: a stream of the platform's own making, and the same each time. */
  genuine(stream: Bytes): Bytes;
  /** Makes it what it is after it was read to its end. */
  spend(stream: Bytes): void;
}

/** Streams that are set up at once. */
const early: LateStreams = {
  create: (source) => new ReadableStream(source) as Bytes,
  genuine: (stream) => stream,
  spend: (stream) => void stream.getReader().cancel(),
};

/**
 * A stand-in has the prototype of a stream, and gets the inner slots of one once they are asked for. They are
 * properties in Node, found by looking at a stream; where that is not so, or does not do, streams are set up early.
 */
export function lateStreams(): LateStreams {
  const { prototype } = ReadableStream;
  const slots = Reflect.ownKeys(new ReadableStream());
  const disturbed = Symbol.for('nodejs.stream.disturbed');

  class LateStream {
    #source: ByteSource;
    #genuine: Bytes | undefined;
    #spent = false;

    constructor(source: ByteSource) {
      this.#source = source;
    }

    static genuine(stream: LateStream): Bytes {
      if (stream.#genuine !== undefined) return stream.#genuine;
      const genuine = new ReadableStream(stream.#source) as Bytes;
      stream.#genuine = genuine;
      for (const slot of slots) {
        Object.defineProperty(stream, slot, Object.getOwnPropertyDescriptor(genuine, slot) ?? {});
      }
      if (stream.#spent) early.spend(genuine);
      return genuine;
    }

    static spend(stream: LateStream): void {
      stream.#spent = true;
      if (stream.#genuine !== undefined) early.spend(stream.#genuine);
    }

    static touched(stream: LateStream): boolean {
      return stream.#genuine !== undefined;
    }

    get locked(): boolean {
      return this.#genuine?.locked ?? this.#spent;
    }

    get [disturbed](): boolean {
      return this.#genuine === undefined ? this.#spent : Readable.isDisturbed(this.#genuine as never);
    }
  }

  Object.setPrototypeOf(LateStream.prototype, prototype);
  Object.defineProperty(LateStream.prototype, 'constructor', { value: ReadableStream });
  for (const slot of slots) {
    Object.defineProperty(LateStream.prototype, slot, {
      get(this: LateStream) {
        return Reflect.get(LateStream.genuine(this), slot);
      },
    });
  }

  const late: LateStreams = {
    create: (source) => new LateStream(source) as unknown as Bytes,
    genuine: (stream) => LateStream.genuine(stream as unknown as LateStream),
    spend: (stream) => LateStream.spend(stream as unknown as LateStream),
  };
  try {
    const stream = late.create({ type: 'bytes' });
    const response = new Response(stream);
    if (response.bodyUsed || LateStream.touched(stream as unknown as LateStream)) return early;
    const reader = response.body?.getReader();
    return stream.locked && late.genuine(stream).locked && reader !== undefined ? late : early;
  } catch {
    return early;
  }
}
