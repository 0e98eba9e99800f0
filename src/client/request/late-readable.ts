import { Readable } from 'node:stream';

interface Late extends Readable {
  /** Makes of an empty stream what it should have been all along. */
  _setUp(): void;
}

/** Where Node's streams and emitters keep what they are: whatever is done with one looks there first. */
const slots = ['_readableState', '_events', '_eventsCount', '_maxListeners'] as const;

/** Node's constructors of streams may be called as functions. */
const construct = Readable as unknown as (this: Readable, options: object) => void;
/** Received and not yet read, in bytes; beyond this the server has to wait. undici's measure. */
export const highWaterMark: number = 64 * 1024;

/**
 * A Node stream that is set up when somebody first touches it. Of most bodies nobody does, since they are read as a
 * whole; and to set up a stream, end and close it costs a tenth of a call.
 */
export const LateReadable: abstract new () => Readable = function LateReadable() {} as never;

const prototype: Readable = Object.create(Readable.prototype);
for (const slot of slots) {
  Object.defineProperty(prototype, slot, {
    get(this: Late) {
      // Node compares what an emitter has with what its prototype has.
      if (Object.hasOwn(this, 'constructor')) return undefined;
      begin(this);
      return Reflect.get(this, slot);
    },
    set(this: Late, value: unknown) {
      begin(this);
      Reflect.set(this, slot, value);
    },
  });
}
LateReadable.prototype = prototype;

function begin(stream: Late): void {
  const own = { value: undefined, writable: true, configurable: true, enumerable: true };
  for (const slot of slots) Object.defineProperty(stream, slot, own);
  construct.call(stream, { highWaterMark });
  stream._setUp();
}
