import { joined, textOf } from '../bytes.ts';

/** What a body can be read as in one go. */
export type Form = 'text' | 'json' | 'bytes' | 'arrayBuffer' | 'blob';

const byteOrderMark = Buffer.of(0xef, 0xbb, 0xbf);

/**
 * All of a body in that form. `encoding`: what was set for reading it as a stream.
 *
 * @throws {SyntaxError} when it is no JSON.
 */
export function wholeAs(
  form: Form,
  pieces: readonly Uint8Array[],
  type: string | undefined,
  encoding: BufferEncoding | undefined,
): unknown {
  switch (form) {
    case 'text':
      return decoded(pieces, encoding);
    case 'json':
      return JSON.parse(decoded(pieces, encoding));
    case 'bytes':
      return joined(pieces);
    case 'arrayBuffer':
      return joined(pieces).buffer;
    case 'blob':
      return new Blob(pieces as Uint8Array<ArrayBuffer>[], { type: type ?? '' });
  }
}

function decoded(pieces: readonly Uint8Array[], encoding: BufferEncoding | undefined): string {
  if (encoding === undefined || /^utf-?8$/i.test(encoding)) return textOf(pieces);
  const whole = Buffer.concat(pieces);
  return whole.toString(encoding, whole.indexOf(byteOrderMark) === 0 ? byteOrderMark.length : 0);
}
