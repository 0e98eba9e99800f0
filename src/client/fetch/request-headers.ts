import { inspect } from 'node:util';
import type { Place } from './place.ts';
import { acceptEncoding, tellsMode } from './platform.ts';

const token = /^[!#$%&'*+\-.^_`|~A-Za-z0-9]+$/;
/** What neither the platform nor a connection takes. */
const badValue = /[^\t\x20-\x7e\x80-\xff]/;
/** Such names change places when they become the keys of an object, as they do in the platform. */
const reordered = /^(?:\d+|__proto__)$/;

/**
 * The headers of a request in the order and the case that they were given in, which is how the platform sends them.
 * Names that differ in case alone are one header.
 */
export class RequestHeaders {
  readonly #names: string[] = [];
  readonly #lower: string[] = [];
  readonly #values: string[] = [];

  /** undefined for what is better left to the platform: what it refuses, and what is too odd to be worth it here. */
  static of(init: unknown): RequestHeaders | undefined {
    const headers = new RequestHeaders();
    if (init === undefined) return headers;
    if (typeof init !== 'object' || init === null) return undefined;
    if (init instanceof Headers) return headers.#takeHeaders(init) ? headers : undefined;
    if (Array.isArray(init)) return headers.#takePairs(init) ? headers : undefined;
    return headers.#takeRecord(init) ? headers : undefined;
  }

  /** `lower` is a name in lower case. */
  get(lower: string): string | undefined {
    const at = this.#lower.indexOf(lower);
    return at === -1 ? undefined : this.#values[at];
  }

  delete(lower: string): void {
    const at = this.#lower.indexOf(lower);
    if (at === -1) return;
    this.#names.splice(at, 1);
    this.#lower.splice(at, 1);
    this.#values.splice(at, 1);
  }

  /** False when the platform would refuse it. */
  append(name: string, given: string): boolean {
    const value = trimmed(given);
    if (!token.test(name) || badValue.test(value) || reordered.test(name)) return false;
    const lower = name.toLowerCase();
    const at = this.#lower.indexOf(lower);
    if (at === -1) {
      this.#names.push(name);
      this.#lower.push(lower);
      this.#values.push(value);
    } else {
      this.#values[at] += (lower === 'cookie' ? '; ' : ', ') + value;
    }
    return true;
  }

  /**
   * Everything that goes out, in the platform's order: what the caller gave, and what the platform adds.
   * `length`: of a body that does not know its own.
   */
  toWire(place: Place, length: number | undefined): readonly string[] {
    const https = place.secure;
    const mode = tellsMode(place.origin);
    if (this.#names.length === 0 && length === undefined)
      return common[https ? 'https' : mode ? 'told' : 'http'];
    const wire: string[] = [];
    let known = 0;
    for (let i = 0; i < this.#names.length; i++) {
      const lower = this.#lower[i] as string;
      const at = additions.indexOf(lower);
      if (at !== -1) known |= 1 << at;
      if (lower === 'host') continue;
      // The platform says this one itself, whatever the caller says.
      if (lower === 'sec-fetch-mode' && mode) wire.push(lower, 'cors');
      else if (lower === 'accept-encoding' && this.get('range') !== undefined)
        wire.push(this.#names[i] as string, `${this.#values[i]}, identity`);
      else wire.push(this.#names[i] as string, this.#values[i] as string);
    }
    const has = (name: (typeof additions)[number]): boolean => (known & (1 << additions.indexOf(name))) !== 0;
    if (!has('accept')) wire.push('accept', '*/*');
    if (!has('accept-language')) wire.push('accept-language', '*');
    if (length !== undefined && !has('content-length')) wire.push('content-length', String(length));
    if (!has('sec-fetch-mode') && mode) wire.push('sec-fetch-mode', 'cors');
    if (!has('user-agent')) wire.push('user-agent', 'node');
    if (conditions.some((name) => has(name))) {
      if (!has('pragma')) wire.push('pragma', 'no-cache');
      if (!has('cache-control')) wire.push('cache-control', 'no-cache');
    }
    if (!has('accept-encoding')) {
      wire.push(
        'accept-encoding',
        has('range') ? 'identity' : https ? acceptEncoding.https : acceptEncoding.http,
      );
    }
    return wire;
  }

  #takeRecord(record: object): boolean {
    const prototype = Object.getPrototypeOf(record);
    if ((prototype !== Object.prototype && prototype !== null) || Symbol.iterator in record) return false;
    for (const name of Reflect.ownKeys(record)) {
      if (typeof name === 'symbol') return false;
      const value = (record as Record<string, unknown>)[name];
      if (typeof value === 'object' || typeof value === 'symbol' || typeof value === 'function') return false;
      if (!this.append(name, String(value))) return false;
    }
    return true;
  }

  #takePairs(pairs: readonly unknown[]): boolean {
    for (const pair of pairs) {
      if (!Array.isArray(pair) || pair.length !== 2) return false;
      const [name, value] = pair;
      if (typeof name !== 'string' || typeof value !== 'string' || !this.append(name, value)) return false;
    }
    return true;
  }

  #takeHeaders(headers: Headers): boolean {
    const names = namesOf(headers);
    return names?.every((name) => this.append(name, headers.get(name) as string)) ?? false;
  }
}

/** Headers that the platform adds, or whose presence changes what it adds. */
const additions = [
  'accept',
  'accept-language',
  'content-length',
  'sec-fetch-mode',
  'user-agent',
  'pragma',
  'cache-control',
  'accept-encoding',
  'range',
  'if-modified-since',
  'if-none-match',
  'if-unmodified-since',
  'if-match',
  'if-range',
] as const satisfies readonly string[] as readonly string[];

/** With one of these the platform's own cache, which it has not, would be passed by. */
const conditions = ['if-modified-since', 'if-none-match', 'if-unmodified-since', 'if-match', 'if-range'];

const common: Readonly<Record<'http' | 'told' | 'https', readonly string[]>> = {
  http: [
    ...['accept', '*/*', 'accept-language', '*', 'user-agent', 'node'],
    ...['accept-encoding', acceptEncoding.http],
  ],
  told: [
    ...['accept', '*/*', 'accept-language', '*', 'sec-fetch-mode', 'cors', 'user-agent', 'node'],
    ...['accept-encoding', acceptEncoding.http],
  ],
  https: [
    ...['accept', '*/*', 'accept-language', '*', 'sec-fetch-mode', 'cors', 'user-agent', 'node'],
    ...['accept-encoding', acceptEncoding.https],
  ],
};

/** Without the white space at the ends, as https://fetch.spec.whatwg.org/#concept-header-value-normalize. */
function trimmed(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isSpace(value.charCodeAt(start))) start++;
  while (end > start && isSpace(value.charCodeAt(end - 1))) end--;
  return value.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}

/** Names only: values are shown as nothing. */
const namesOnly = {
  depth: 0,
  colors: false,
  compact: true,
  breakLength: Number.POSITIVE_INFINITY,
  maxStringLength: 0,
};
const shownName = /(?:'([^']+)'|"([^"]+)"|(\w+)): ''(?:\.\.\. \d+ more characters?)?(?:, | )/y;

/**
 * The names in a `Headers`, in the order and case they were given in. Iteration has them sorted and in lower case,
 * while the platform sends them as they were given: that order shows in nothing but how they are printed. undefined
 * where the two disagree.
 */
function namesOf(headers: Headers): string[] | undefined {
  const sorted = [...headers.keys()];
  if (sorted.length === 0) return sorted;
  const shown = inspect(headers, namesOnly);
  const names: string[] = [];
  shownName.lastIndex = shown.indexOf('{ ') + 2;
  for (let found = shownName.exec(shown); found !== null; found = shownName.exec(shown)) {
    names.push((found[1] ?? found[2] ?? found[3]) as string);
  }
  const lower = names.map((name) => name.toLowerCase()).sort();
  return lower.length === sorted.length && lower.every((name, i) => name === sorted[i]) ? names : undefined;
}
