import { Readable } from 'node:stream';
import { isUint8Array } from 'node:util/types';
import type { Random } from '../../core/clock.ts';
import { minded } from '../body.ts';

/** What the connection takes. */
export type Payload = string | Buffer | Blob | AsyncIterable<Uint8Array>;

/** A request body in the form that can be sent, and sent again if it has a source. */
export interface RequestBody {
  /** Its content-type, unless the caller gives one. */
  readonly type: string | undefined;
  /** Of a payload that does not know its length by itself; undefined where that is unknown, too. */
  readonly length: number | undefined;
  /** Whether `payload` may be asked for again. */
  readonly replayable: boolean;
  payload(): Payload;
  /** Nobody is going to read it. */
  cancel(reason: unknown): void;
}

/** Larger blobs are sent piece by piece, rather than read into memory first. */
const wholeBlob = 65_536;

/** undefined for what is better left to the platform: what it refuses, and what it turns into a string. */
export function requestBody(body: unknown, streamable: boolean, random: Random): RequestBody | undefined {
  if (typeof body === 'string') return whole(body, 'text/plain;charset=UTF-8');
  if (typeof body !== 'object' || body === null) return undefined;
  // Copied at once, as the platform does: the caller may use its buffer again.
  if (ArrayBuffer.isView(body)) {
    if (!(body.buffer instanceof ArrayBuffer) || body.buffer.detached) return undefined;
    return whole(Buffer.from(Buffer.from(body.buffer, body.byteOffset, body.byteLength)), undefined);
  }
  if (body instanceof ArrayBuffer)
    return body.detached ? undefined : whole(Buffer.from(Buffer.from(body)), undefined);
  if (body instanceof URLSearchParams) {
    return whole(String(body), 'application/x-www-form-urlencoded;charset=UTF-8');
  }
  if (body instanceof Blob) return ofBlob(body, body.type === '' ? undefined : body.type);
  if (body instanceof FormData) return ofForm(body, random);
  return streamable && Symbol.asyncIterator in body ? ofStream(body as AsyncIterable<unknown>) : undefined;
}

const nothing = (): void => {};

function whole(content: string | Buffer, type: string | undefined): RequestBody {
  return { type, length: undefined, replayable: true, payload: () => content, cancel: nothing };
}

function ofBlob(blob: Blob, type: string | undefined): RequestBody {
  if (blob.size <= wholeBlob)
    return { type, length: undefined, replayable: true, payload: () => blob, cancel: nothing };
  return { type, length: blob.size, replayable: true, payload: () => blob.stream(), cancel: nothing };
}

/** https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data */
function ofForm(form: FormData, random: Random): RequestBody {
  const boundary = `----formdata-undici-0${String(Math.floor(random() * 1e11)).padStart(11, '0')}`;
  const parts: (string | Blob)[] = [];
  for (const [name, value] of form) {
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${escaped(lines(name))}"`;
    if (typeof value === 'string') {
      parts.push(`${head}\r\n\r\n${lines(value)}\r\n`);
    } else {
      const file = value.name === '' ? '' : `; filename="${escaped(value.name)}"`;
      parts.push(
        `${head}${file}\r\nContent-Type: ${value.type || 'application/octet-stream'}\r\n\r\n`,
        value,
        '\r\n',
      );
    }
  }
  parts.push(`--${boundary}--\r\n`);
  const type = `multipart/form-data; boundary=${boundary}`;
  if (parts.every((part) => typeof part === 'string')) return whole(parts.join(''), type);
  let length = 0;
  for (const part of parts) length += typeof part === 'string' ? Buffer.byteLength(part) : part.size;
  return { type, length, replayable: true, payload: () => pieces(parts), cancel: nothing };
}

function escaped(text: string): string {
  return text.replace(/\n/g, '%0A').replace(/\r/g, '%0D').replace(/"/g, '%22');
}

function lines(text: string): string {
  return text.replace(/\r?\n|\r/g, '\r\n');
}

async function* pieces(parts: readonly (string | Blob)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (typeof part === 'string') yield Buffer.from(part);
    else yield* part.stream();
  }
}

function ofStream(source: AsyncIterable<unknown>): RequestBody | undefined {
  if (Readable.isDisturbed(source as never)) return undefined;
  if (source instanceof ReadableStream) {
    if (source.locked) return undefined;
    return {
      type: undefined,
      length: undefined,
      replayable: false,
      payload: () => source as AsyncIterable<Uint8Array>,
      cancel: (reason) => {
        // A stream that is being read is ended by its reader.
        if (!source.locked) source.cancel(reason).catch(nothing);
      },
    };
  }
  minded(source);
  return {
    type: undefined,
    length: undefined,
    replayable: false,
    payload: () => bytesOf(source),
    cancel: () => {
      if (source instanceof Readable) source.destroy();
    },
  };
}

async function* bytesOf(source: AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) yield isUint8Array(chunk) ? chunk : Buffer.from(chunk as string);
}
