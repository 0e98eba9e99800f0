import type { Random } from '../../core/clock.ts';

/** The metadata of an API object, as far as this cluster looks at it. */
export interface ObjectMeta {
  readonly name: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/** An API object without `kind` and `apiVersion`, which the server knows from where it is kept. Immutable. */
export interface KubeObject {
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
}

const hex = '0123456789abcdef';
/** What Kubernetes makes generated names from: no vowels, so no words; nothing that looks like something else. */
const nameLetters = 'bcdfghjklmnpqrstvwxz2456789';

function letters(random: Random, alphabet: string, length: number): string {
  let text = '';
  for (let i = 0; i < length; i++) text += alphabet[Math.floor(random() * alphabet.length)];
  return text;
}

/** A version 4 UUID, RFC 9562. */
export function uid(random: Random): string {
  const variant = hex[8 + Math.floor(random() * 4)];
  const part = (length: number): string => letters(random, hex, length);
  return `${part(8)}-${part(4)}-4${part(3)}-${variant}${part(3)}-${part(12)}`;
}

/** `web-` becomes `web-x7k2q`, as `generateName` does. */
export function generatedName(random: Random, prefix: string): string {
  return prefix + letters(random, nameLetters, 5);
}

/** The wall clock as the API writes it: seconds, UTC. */
export function timestamp(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, 'Z');
}
