import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Lines } from '../../../src/resolvers/kubernetes/lines.ts';
import { parseList } from '../../../src/resolvers/kubernetes/list-items.ts';

describe('lines', () => {
  test('are the same wherever the reads end, also inside a character', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\n', ' '))),
        fc.array(fc.nat()),
        (texts, cuts) => {
          const bytes = Buffer.from(texts.map((text) => `${text}\n`).join(''));
          const points = [
            0,
            ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b),
            bytes.length,
          ];
          const lines = new Lines(1 << 20);
          const found: string[] = [];
          for (const [i, point] of points.slice(1).entries()) {
            lines.push(bytes.subarray(points[i], point));
            for (let line = lines.next(); line !== undefined; line = lines.next()) found.push(line);
          }
          expect(found).toEqual(
            bytes
              .toString('utf8')
              .split('\n')
              .filter((line) => line.trim() !== ''),
          );
          expect(lines.rest()).toBe('');
        },
      ),
      { seed: 1 },
    );
  });

  test('beyond the limit are refused before they are complete, and keep no more than the limit', () => {
    const lines = new Lines(100);
    lines.push(Buffer.alloc(60, 'x'));
    expect(lines.next()).toBeUndefined();
    lines.push(Buffer.alloc(60, 'x'));
    expect(() => lines.next()).toThrow('a line of more than 100 bytes');
    const whole = new Lines(100);
    whole.push(Buffer.from(`${'x'.repeat(100)}\n${'x'.repeat(101)}\n`));
    expect(whole.next()).toHaveLength(100);
    expect(() => whole.next()).toThrow('a line of more than 100 bytes');
  });
});

function parsed(text: string): unknown {
  const work = parseList(Buffer.from(text), (item) => item);
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

describe('a list taken apart', () => {
  test('is what JSON.parse makes of it, however it is written', () => {
    fc.assert(
      fc.property(
        fc.array(fc.jsonValue()),
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.boolean(),
        fc.constantFrom(undefined, 1, '\t'),
        (items, rest, first, space) => {
          const others = {
            ...Object.fromEntries(Object.entries(rest).filter(([key]) => key !== 'items')),
            nested: { items: [1, '"items":[', { items: [] }] },
          };
          const list = first ? { items, ...others } : { ...others, items };
          const { head, items: found } = parsed(JSON.stringify(list, null, space)) as {
            head: object;
            items: unknown[];
          };
          const again = JSON.parse(JSON.stringify(items));
          expect(found).toEqual(again);
          expect(head).toEqual({ ...JSON.parse(JSON.stringify(others)), items: [] });
        },
      ),
      { seed: 2, numRuns: 500 },
    );
  });

  test('that is cut off, or no list, is a SyntaxError', () => {
    const text = JSON.stringify({ metadata: {}, items: [{ a: 'b' }, { c: ['d'] }] });
    for (let end = 0; end < text.length; end++) expect(() => parsed(text.slice(0, end))).toThrow(SyntaxError);
    expect(() => parsed('<html>')).toThrow(SyntaxError);
  });

  test('without items is empty', () => {
    expect(parsed('{"metadata":{"resourceVersion":"1"}}')).toMatchObject({ items: [] });
    expect(parsed('{"metadata":{"resourceVersion":"1"},"items":null}')).toMatchObject({ items: [] });
  });
});
