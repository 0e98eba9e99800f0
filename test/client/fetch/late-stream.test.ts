import { isErrored, isReadable, Readable } from 'node:stream';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type Bytes, lateStreams } from '../../../src/client/fetch/late-stream.ts';

/** Gives its pieces one by one, and notes what it is asked. */
class Source {
  readonly log: string[] = [];
  readonly #pieces: string[];

  constructor(...pieces: string[]) {
    this.#pieces = pieces;
  }

  get type(): 'bytes' {
    return 'bytes';
  }

  start(): void {
    this.log.push('start');
  }

  pull(controller: ReadableByteStreamController): void {
    const piece = this.#pieces.shift();
    this.log.push(`pull ${piece}`);
    if (piece !== undefined) controller.enqueue(new TextEncoder().encode(piece));
    else {
      controller.close();
      controller.byobRequest?.respond(0);
    }
  }

  cancel(reason: unknown): void {
    this.log.push(`cancel ${reason}`);
  }
}

async function all(pieces: AsyncIterable<unknown>): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const piece of pieces) found.push(piece);
  return found;
}

const streams = lateStreams();
const make = (source: Source): Bytes => streams.create(source as never);

describe('a late stream', () => {
  it('asks its source for nothing before it is touched', () => {
    const source = new Source('a');
    const stream = make(source);
    const response = new Response(stream);
    expect(stream).toBeInstanceOf(ReadableStream);
    expect(stream.constructor).toBe(ReadableStream);
    expect(Object.prototype.toString.call(stream)).toBe('[object ReadableStream]');
    expect([stream.locked, response.bodyUsed, Readable.isDisturbed(stream as never)]).toEqual([
      false,
      false,
      false,
    ]);
    expect(response.body).toBe(stream);
    expect(source.log).toEqual([]);
    expect(streams.genuine(stream)).toBe(streams.genuine(stream));
    expect(Object.getPrototypeOf(streams.genuine(stream))).toBe(ReadableStream.prototype);
    expect(source.log).toEqual(['start']);
  });

  const uses: Record<string, (stream: Bytes) => unknown> = {
    'a reader': async (stream) => {
      const reader = stream.getReader();
      const read = [await reader.read(), await reader.read(), await reader.read()];
      await reader.closed;
      reader.releaseLock();
      return read;
    },
    'a BYOB reader': async (stream) => {
      const reader = stream.getReader({ mode: 'byob' });
      return [await reader.read(new Uint8Array(2)), await reader.read(new Uint8Array(2))];
    },
    'two readers': (stream) => {
      stream.getReader();
      stream.getReader();
    },
    iteration: (stream) => all(stream),
    'iteration that stops': async (stream) => {
      for await (const piece of stream) return piece;
      return undefined;
    },
    tee: async (stream) => {
      const [a, b] = stream.tee();
      return [await new Response(a).text(), await new Response(b).text()];
    },
    pipeTo: async (stream) => {
      const pieces: unknown[] = [];
      await stream.pipeTo(new WritableStream({ write: (piece) => void pieces.push(piece) }));
      return pieces;
    },
    pipeThrough: async (stream) => {
      const text = stream.pipeThrough(new TextDecoderStream() as never) as unknown as ReadableStream<string>;
      return all(text);
    },
    cancel: (stream) => stream.cancel('enough'),
    'cancel of a locked one': (stream) => {
      stream.getReader();
      return stream.cancel();
    },
    'a Node stream': (stream) => all(Readable.fromWeb(stream as never)),
    'text of a response': (stream) => new Response(stream).text(),
    'json of a response': (stream) => new Response(stream).json(),
    'bytes of a response': async (stream) => new Uint8Array(await new Response(stream).arrayBuffer()),
    'a blob of a response': async (stream) => (await new Response(stream).blob()).text(),
    'a clone of a response': async (stream) => {
      const response = new Response(stream);
      const clone = response.clone();
      return [await response.text(), await clone.text(), response.bodyUsed, clone.bodyUsed];
    },
    'a body used twice': async (stream) => {
      const response = new Response(stream);
      await response.text();
      return response.text();
    },
    'a request with it': (stream) =>
      new Request('http://a', { method: 'POST', body: stream, duplex: 'half' } as RequestInit).text(),
    'a response of a locked one': (stream) => {
      stream.getReader();
      return new Response(stream);
    },
    'the prototype of a response': (stream) => Response.prototype.text.call(new Response(stream)),
    print: (stream) => inspect(stream),
  };

  const outcome = async (stream: Bytes, source: Source, use: (stream: Bytes) => unknown) => {
    let told: unknown;
    try {
      told = await use(stream);
    } catch (error) {
      told = String(error);
    }
    return {
      told,
      log: source.log,
      locked: stream.locked,
      disturbed: Readable.isDisturbed(stream as never),
      errored: isErrored(stream as never),
      readable: isReadable(stream as never),
    };
  };

  for (const [name, use] of Object.entries(uses))
    it(`is as good as one of the platform's for ${name}`, async () => {
      const pieces = ['1', '2'] as const;
      const [a, b] = [new Source(...pieces), new Source(...pieces)];
      const theirs = await outcome(new ReadableStream(a as never) as Bytes, a, use);
      expect(await outcome(make(b), b, use)).toEqual(theirs);
      // What callers see shares the state, whoever touches which first.
      const [c, d] = [new Source(...pieces), new Source(...pieces)];
      expect(await outcome(streams.genuine(make(c)), c, use)).toEqual(theirs);
      const stream = make(d);
      const genuine = streams.genuine(stream);
      expect(await outcome(stream, d, use)).toEqual(theirs);
      expect([genuine.locked, Readable.isDisturbed(genuine as never)]).toEqual([
        stream.locked,
        theirs.disturbed,
      ]);
    });

  it('can be transferred, as what callers see of it', async () => {
    const genuine = streams.genuine(make(new Source('moved')));
    const moved = structuredClone(genuine, { transfer: [genuine] });
    expect(await new Response(moved).text()).toBe('moved');
  });

  it.each(['before', 'after'])('is as one that was read once it is spent, %s it is touched', async (when) => {
    const stream = make(new Source('x'));
    const response = new Response(stream);
    if (when === 'after') streams.genuine(stream);
    streams.spend(stream);
    expect([response.bodyUsed, stream.locked, streams.genuine(stream).locked]).toEqual([true, true, true]);
    await expect(response.text()).rejects.toThrow(TypeError);
    expect(() => response.clone()).toThrow(TypeError);
    expect(() => new Response(stream)).toThrow(TypeError);
  });

  it('is set up early where the platform keeps its slots elsewhere', async () => {
    const real = globalThis.ReadableStream;
    // One whose instances show nothing.
    globalThis.ReadableStream = new Proxy(real, {
      construct: (target, parameters, newTarget) =>
        parameters.length > 0 ? Reflect.construct(target, parameters, newTarget) : {},
    });
    try {
      const source = new Source('a');
      const stream = lateStreams().create(source as never);
      expect(source.log).toEqual(['start']);
      expect(await new Response(stream).text()).toBe('a');
    } finally {
      globalThis.ReadableStream = real;
    }
  });
});
