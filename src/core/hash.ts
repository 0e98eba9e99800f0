/**
 * 32-bit hash of a string: FNV-1a over its UTF-16 code units, with murmur3's finishing mix, because FNV alone
 * leaves similar keys close together. http://www.isthe.com/chongo/tech/comp/fnv/
 */
export function hash32(text: string, seed = 0): number {
  let h = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return mix32(h);
}

/** murmur3's finalizer: every input bit reaches every output bit. */
export function mix32(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
