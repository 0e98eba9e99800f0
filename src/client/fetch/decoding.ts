import { Transform, type TransformCallback } from 'node:stream';
// As a whole: an import by name that an old Node lacks fails before our own check of its version can say so.
import zlib, { type Inflate, type InflateRaw } from 'node:zlib';
import { decodesZstd } from './platform.ts';

const { constants } = zlib;

/** More layers than this are an attack. As in the platform. */
const maxCodings = 5;
/** RFC 9659: the window that a receiver of `zstd` has to support. */
const zstdWindowLog = 23;

/** Flushing at each piece, so that what has arrived can be read. */
const zlibOptions = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH };
const brotliOptions = {
  flush: constants.BROTLI_OPERATION_FLUSH,
  finishFlush: constants.BROTLI_OPERATION_FLUSH,
};
const zstdOptions = {
  flush: constants.ZSTD_e_continue,
  finishFlush: constants.ZSTD_e_end,
  params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLog },
};

/**
 * The decoders of a content-encoding, outermost first; none where one of its codings is unknown, as then the body is
 * given as it is.
 *
 * @throws {Error} when there are too many codings.
 */
export function decodersOf(contentEncoding: string): Transform[] {
  const codings = contentEncoding.toLowerCase().split(',');
  if (codings.length > maxCodings) {
    throw new Error(
      `too many content-encodings in response: ${codings.length}, maximum allowed is ${maxCodings}`,
    );
  }
  const decoders: Transform[] = [];
  for (const coding of codings.reverse()) {
    const decoder = decoderOf(coding.trim());
    if (decoder === undefined) return [];
    decoders.push(decoder);
  }
  return decoders;
}

function decoderOf(coding: string): Transform | undefined {
  switch (coding) {
    case 'gzip':
    case 'x-gzip':
      return zlib.createGunzip(zlibOptions);
    case 'deflate':
      return new AnyInflate();
    case 'br':
      return zlib.createBrotliDecompress(brotliOptions);
    case 'zstd':
      return decodesZstd ? zlib.createZstdDecompress(zstdOptions) : undefined;
    default:
      return undefined;
  }
}

/** `deflate` means zlib's format (RFC 9110 §8.4.1.2), and some servers send the bare one: the first byte tells. */
class AnyInflate extends Transform {
  #inflate: Inflate | InflateRaw | undefined;

  override _transform(chunk: Buffer, encoding: BufferEncoding, callback: TransformCallback): void {
    if (this.#inflate === undefined) {
      if (chunk.length === 0) {
        callback();
        return;
      }
      const zlibFormat = ((chunk[0] as number) & 0x0f) === 0x08;
      this.#inflate = zlibFormat ? zlib.createInflate(zlibOptions) : zlib.createInflateRaw(zlibOptions);
      this.#inflate.on('data', (data) => this.push(data));
      this.#inflate.on('end', () => this.push(null));
      this.#inflate.on('error', (error) => this.destroy(error));
    }
    this.#inflate.write(chunk, encoding, callback);
  }

  override _final(callback: TransformCallback): void {
    this.#inflate?.end();
    this.#inflate = undefined;
    callback();
  }
}
