import type { IncomingHttpHeaders } from 'node:http';
import { isErrored, Readable } from 'node:stream';

/** What the platform would know of a response that it has made itself. */
export interface ResponseHead {
  readonly url: string;
  readonly redirected: boolean;
  /** `cors` once redirects have led to another origin. */
  readonly type: 'basic' | 'cors';
  readonly status: number;
  readonly statusText: string;
  readonly headers: IncomingHttpHeaders;
}

type Make = (body: ReadableStream<Uint8Array> | null, head: ResponseHead) => Response;

let make: Make | undefined;

/**
 * A `Response` of the platform that also knows where it came from, which only the platform's own fetch can tell the
 * ones it makes: `url`, `redirected` and `type`. And its headers, like theirs, cannot be changed.
 */
export function serviceResponse(body: ReadableStream<Uint8Array> | null, head: ResponseHead): Response {
  // Made late: the platform loads its own fetch when one of these globals is first touched.
  make ??= responses();
  return make(body, head);
}

/** What a status line may say as a `Response` is made; servers say more. */
const reasonPhrase = /^[\t\x20-\x7e\x80-\xff]*$/;
const greatestStatus = 599;

function responses(): Make {
  const plainClone = Response.prototype.clone;
  const frozen = frozenHeaders();

  class ServiceResponse extends Response {
    readonly #head: ResponseHead;

    constructor(body: ReadableStream<Uint8Array> | null, head: ResponseHead) {
      const { status, statusText } = head;
      const plain = status <= greatestStatus && reasonPhrase.test(statusText);
      super(body, plain ? { status, statusText } : {});
      this.#head = head;
      const { headers } = this;
      for (const name in head.headers) {
        const value = head.headers[name];
        if (typeof value === 'string') headers.append(name, value);
        else if (value !== undefined) for (const one of value) headers.append(name, one);
      }
      Object.setPrototypeOf(headers, frozen);
      if (!plain) Object.setPrototypeOf(this, odd);
    }

    static head(response: ServiceResponse): ResponseHead {
      return response.#head;
    }
  }

  const { head } = ServiceResponse;
  const get = (read: (response: ServiceResponse) => unknown): PropertyDescriptor => ({
    get(this: ServiceResponse) {
      return read(this);
    },
    enumerable: true,
    configurable: true,
  });
  Object.defineProperties(ServiceResponse.prototype, {
    constructor: { value: Response, writable: true, configurable: true },
    url: get((response) => head(response).url),
    redirected: get((response) => head(response).redirected),
    type: get((response) => head(response).type),
    clone: method(function (this: ServiceResponse): Response {
      const copy = new ServiceResponse(plainClone.call(this).body, head(this));
      for (const response of [this, copy]) cancelWhenForgotten(response);
      return copy;
    }),
  });
  const odd = Object.create(ServiceResponse.prototype, {
    status: get((response) => head(response).status),
    statusText: get((response) => head(response).statusText),
    ok: get((response) => head(response).status >= 200 && head(response).status <= 299),
  });
  return (body, about) => new ServiceResponse(body, about);
}

function method(value: (...args: never[]) => unknown): PropertyDescriptor {
  return { value, enumerable: true, writable: true, configurable: true };
}

/** The prototype of headers that cannot be changed. What is wrong with a name or a value is said first. */
function frozenHeaders(): Headers {
  const refusing = (name: 'append' | 'set' | 'delete'): PropertyDescriptor =>
    method((...args: never[]) => {
      (Headers.prototype[name] as (...args: never[]) => void).apply(new Headers(), args);
      throw new TypeError('immutable');
    });
  return Object.create(Headers.prototype, {
    append: refusing('append'),
    set: refusing('set'),
    delete: refusing('delete'),
  });
}

let forgotten: FinalizationRegistry<WeakRef<ReadableStream>> | undefined;

/** A body that nobody can read any more frees its connection. */
export function cancelWhenForgotten(response: Response): void {
  const { body } = response;
  if (body === null) return;
  forgotten ??= new FinalizationRegistry((reference) => {
    const stream = reference.deref();
    if (
      stream === undefined ||
      stream.locked ||
      Readable.isDisturbed(stream as never) ||
      isErrored(stream as never)
    )
      return;
    stream.cancel('Response object has been garbage collected').catch(() => {});
  });
  forgotten.register(response, new WeakRef(body));
}
