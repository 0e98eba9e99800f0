import type { IncomingHttpHeaders } from 'node:http';
import { isErrored, Readable } from 'node:stream';
import type { UnderlyingByteSource as ByteSource } from 'node:stream/web';
import { joined, textOf } from '../bytes.ts';
import { freeze } from './frozen-headers.ts';
import { type Bytes, lateStreams } from './late-stream.ts';

/** What the platform would know of a response that it has made itself. */
export interface ResponseHead {
  readonly url: string;
  readonly redirected: boolean;
  /** `cors` once redirects have led to another origin. */
  readonly tainting: 'basic' | 'cors';
  readonly status: number;
  readonly statusText: string;
  readonly headers: IncomingHttpHeaders;
}

/** Where its body comes from. */
export interface BodySource extends ByteSource {
  /** Takes all of the body, once that is here. Nobody may have begun to read it. */
  takeWhole(): readonly Uint8Array[] | undefined;
}

type Make = (body: BodySource | null, head: ResponseHead) => Response;

let make: Make | undefined;

/**
 * A `Response` of the platform that also knows where it came from, which only the platform's own fetch can tell the
 * ones it makes: `url`, `redirected` and `type`. And its headers, like theirs, cannot be changed.
 */
export function serviceResponse(body: BodySource | null, head: ResponseHead): Response {
  // Made late: the platform loads its own fetch when one of these globals is first touched.
  make ??= responses();
  return make(body, head);
}

/** What a status line may say as a `Response` is made; servers say more. */
const reasonPhrase = /^[\t\x20-\x7e\x80-\xff]*$/;
const greatestStatus = 599;

function responses(): Make {
  const { prototype } = Response;
  const streams = lateStreams();
  const own = {
    clone: prototype.clone,
    body: getter(prototype, 'body'),
    headers: getter(prototype, 'headers'),
  };

  class ServiceResponse extends Response {
    readonly #head: ResponseHead;
    /** Where the body can be had as a whole, which a clone's cannot, and the stream that it is as long as it can. */
    readonly #source: BodySource | null;
    readonly #stream: Bytes | null;
    #headersKnown = false;

    constructor(body: Bytes | null, head: ResponseHead, source: BodySource | null) {
      const { status, statusText } = head;
      const plain = status <= greatestStatus && reasonPhrase.test(statusText);
      super(body, plain ? { status, statusText } : undefined);
      this.#head = head;
      this.#source = source;
      this.#stream = source === null ? null : body;
      if (!plain) Object.setPrototypeOf(this, odd);
    }

    static head(response: ServiceResponse): ResponseHead {
      return response.#head;
    }

    static takeWhole(response: ServiceResponse): readonly Uint8Array[] | undefined {
      // A method may be called with another's response, or with what is none.
      if (!(#stream in response)) return undefined;
      const stream = response.#stream;
      if (stream === null || stream !== own.body.call(response)) return undefined;
      if (stream.locked || Readable.isDisturbed(stream as never)) return undefined;
      const whole = response.#source?.takeWhole();
      if (whole !== undefined) streams.spend(stream);
      return whole;
    }

    static body(response: ServiceResponse): Response['body'] {
      const body = own.body.call(response);
      return body !== null && body === response.#stream ? streams.genuine(body) : body;
    }

    /** Written when they are first asked for: many callers never do. */
    static headers(response: ServiceResponse): Headers {
      const headers = own.headers.call(response);
      if (!(#headersKnown in response) || response.#headersKnown) return headers;
      response.#headersKnown = true;
      const { headers: received } = response.#head;
      for (const name of Object.keys(received)) {
        const value = received[name];
        if (typeof value === 'string') headers.append(name, value);
        else if (value !== undefined) for (const one of value) headers.append(name, one);
      }
      return freeze(headers);
    }
  }

  const { body, head, headers, takeWhole } = ServiceResponse;
  const get = (read: (response: ServiceResponse) => unknown): PropertyDescriptor => ({
    get(this: ServiceResponse) {
      return read(this);
    },
    enumerable: true,
    configurable: true,
  });
  /** Reads a body that is here as a whole in one go, and leaves all others to the platform. */
  const reader = (
    name: 'text' | 'json' | 'bytes' | 'arrayBuffer',
    read: (whole: readonly Uint8Array[]) => unknown,
  ): PropertyDescriptor => {
    const native = prototype[name];
    return method(async function (this: ServiceResponse) {
      // Someone may have put a method of their own in the place of the platform's.
      const current = prototype[name];
      const whole = current === native ? takeWhole(this) : undefined;
      return whole === undefined ? current.call(this) : read(whole);
    });
  };
  const typed = (name: 'blob' | 'formData'): PropertyDescriptor =>
    method(function (this: ServiceResponse) {
      // It goes by the content-type.
      headers(this);
      return (prototype[name] as () => Promise<unknown>).call(this);
    });

  Object.defineProperties(ServiceResponse.prototype, {
    constructor: { value: Response, writable: true, configurable: true },
    url: get((response) => head(response).url),
    redirected: get((response) => head(response).redirected),
    type: get((response) => head(response).tainting),
    body: get(body),
    headers: get(headers),
    text: reader('text', textOf),
    json: reader('json', (whole) => JSON.parse(textOf(whole))),
    bytes: reader('bytes', joined),
    arrayBuffer: reader('arrayBuffer', (whole) => joined(whole).buffer),
    blob: typed('blob'),
    formData: typed('formData'),
    clone: method(function (this: ServiceResponse) {
      const copy = new ServiceResponse(own.clone.call(this).body, head(this), null);
      for (const response of [this, copy]) cancelWhenForgotten(response);
      return copy;
    }),
  });
  const odd = Object.create(ServiceResponse.prototype, {
    status: get((response) => head(response).status),
    statusText: get((response) => head(response).statusText),
    ok: get((response) => head(response).status >= 200 && head(response).status <= 299),
  });
  return (source, about) =>
    new ServiceResponse(source === null ? null : streams.create(source), about, source);
}

function getter<K extends 'body' | 'headers'>(prototype: Response, name: K): (this: Response) => Response[K] {
  return Object.getOwnPropertyDescriptor(prototype, name)?.get as () => Response[K];
}

function method(value: (...args: never[]) => unknown): PropertyDescriptor {
  return { value, enumerable: true, writable: true, configurable: true };
}

let forgotten: FinalizationRegistry<WeakRef<ReadableStream>> | undefined;

/** A body that nobody can read any more frees its connection. */
export function cancelWhenForgotten(response: Response): void {
  const { body } = response;
  if (body === null) return;
  forgotten ??= new FinalizationRegistry((reference) => {
    const stream = reference.deref();
    if (stream === undefined || stream.locked) return;
    if (Readable.isDisturbed(stream as never) || isErrored(stream as never)) return;
    stream.cancel('Response object has been garbage collected').catch(() => {});
  });
  forgotten.register(response, new WeakRef(body));
}
