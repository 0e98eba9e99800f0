import { readFileSync } from 'node:fs';

function read(name: string): Buffer {
  return readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url));
}

export interface Identity {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** A certificate of the fixtures, with its key. */
export function identity(name: 'orders' | 'evil' | 'unknown' | 'expired' | 'client'): Identity {
  return { cert: read(`${name}.crt`), key: read(`${name}.key`) };
}

export const ca: Buffer = read('ca.crt');
