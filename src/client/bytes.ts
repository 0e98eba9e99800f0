const decoder = new TextDecoder();

/** As UTF-8, without a byte order mark. */
export function textOf(whole: readonly Uint8Array[]): string {
  return decoder.decode(whole.length === 1 ? whole[0] : joined(whole));
}

/** In memory of its own. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const piece of pieces) length += piece.byteLength;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.byteLength;
  }
  return bytes;
}
