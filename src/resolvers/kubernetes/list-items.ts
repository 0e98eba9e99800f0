const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/** A list as the API server sends it, taken apart. */
export interface ListParts<T> {
  /** The list without its items. */
  readonly head: unknown;
  readonly items: readonly T[];
}

/**
 * Parses a list item by item, keeping what `read` makes of each, so that the caller can let other work in between: `JSON.parse` of a list of thousands
 * of endpoints would hold the event loop for tens of milliseconds. Yields after each item. Throws a `SyntaxError`
 * where the text is no JSON.
 */
export function* parseList<T>(body: Buffer, read: (item: unknown) => T): Generator<undefined, ListParts<T>> {
  const array = itemsArray(body);
  if (array === undefined) return { head: JSON.parse(body.toString('utf8')), items: [] };
  const items: T[] = [];
  let at = array + 1;
  for (;;) {
    const start = skipTo(body, at);
    if (body[start] === closeBracket) {
      const head = `${body.toString('utf8', 0, array)}[]${body.toString('utf8', start + 1)}`;
      return { head: JSON.parse(head), items };
    }
    const end = valueEnd(body, start);
    items.push(read(JSON.parse(body.toString('utf8', start, end))));
    at = end;
    yield;
  }
}

/** Where the array of the top-level member `items` opens; undefined when there is none. */
function itemsArray(body: Buffer): number | undefined {
  let depth = 0;
  for (let i = 0; i < body.length; i++) {
    const byte = body[i];
    if (byte === quote) {
      const end = stringEnd(body, i);
      if (depth === 1 && end - i === 7 && body.toString('latin1', i, end) === '"items"') {
        let next = end;
        while (isSpace(body[next])) next++;
        if (body[next] === 0x3a) {
          next++;
          while (isSpace(body[next])) next++;
          return body[next] === openBracket ? next : undefined;
        }
      }
      i = end - 1;
    } else if (byte === openBrace || byte === openBracket) depth++;
    else if (byte === closeBrace || byte === closeBracket) depth--;
  }
  return undefined;
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** The next byte that is neither space nor comma. */
function skipTo(body: Buffer, at: number): number {
  let i = at;
  while (isSpace(body[i]) || body[i] === 0x2c) i++;
  if (i >= body.length) throw new SyntaxError('the list ends inside its items');
  return i;
}

/** One past the closing quote of the string that opens at `start`. */
function stringEnd(body: Buffer, start: number): number {
  for (let i = start + 1; i < body.length; i++) {
    const byte = body[i];
    if (byte === backslash) i++;
    else if (byte === quote) return i + 1;
  }
  throw new SyntaxError('the list ends inside a string');
}

/** One past the end of the value that starts at `start`. */
function valueEnd(body: Buffer, start: number): number {
  let depth = 0;
  for (let i = start; i < body.length; i++) {
    const byte = body[i];
    if (byte === quote) i = stringEnd(body, i) - 1;
    else if (byte === openBrace || byte === openBracket) depth++;
    else if (byte === closeBrace || byte === closeBracket) {
      // The bracket of the items' own array ends a bare value, such as a number.
      if (depth === 0) return i;
      if (--depth === 0) return i + 1;
    } else if (byte === 0x2c && depth === 0) return i;
  }
  throw new SyntaxError('the list ends inside an item');
}
