import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { srvEndpoints, usableRecords } from '../../../src/resolvers/dns/srv.ts';

const record = fc.record({
  name: fc.integer({ min: 0, max: 9 }).map((i) => `t${i}`),
  port: fc.integer({ min: 1, max: 3 }),
  priority: fc.integer({ min: 0, max: 2 }),
  weight: fc.integer({ min: 0, max: 4 }),
});
const targets = fc
  .array(fc.integer({ min: 0, max: 3 }), { minLength: 10, maxLength: 10 })
  .map(
    (counts) =>
      new Map(counts.map((count, i) => [`t${i}`, Array.from({ length: count }, (_, j) => `10.0.${i}.${j}`)])),
  );

describe('srvEndpoints', () => {
  it('uses one priority: the lowest that has addresses', () => {
    fc.assert(
      fc.property(fc.array(record), targets, (records, addressesOf) => {
        const live = records.filter(({ name }) => addressesOf.get(name)?.length);
        const lowest = Math.min(...live.map(({ priority }) => priority));
        const expected = live
          .filter(({ priority }) => priority === lowest)
          .flatMap(({ name, port }) => addressesOf.get(name)?.map((address) => `${address}:${port}`) ?? []);
        const ids = srvEndpoints(records, addressesOf).map(({ id }) => id);
        expect(ids).toEqual([...new Set(expected)].sort());
      }),
    );
  });

  it('shares out all the weight there is, and leaves nobody without', () => {
    fc.assert(
      fc.property(fc.array(record), targets, (records, addressesOf) => {
        const endpoints = srvEndpoints(records, addressesOf);
        const live = records.filter(({ name }) => addressesOf.get(name)?.length);
        const lowest = Math.min(...live.map(({ priority }) => priority));
        const weights = live.filter(({ priority }) => priority === lowest).map(({ weight }) => weight);
        if (new Set(weights).size <= 1) {
          expect(endpoints.every(({ weight }) => weight === undefined)).toBe(true);
          return;
        }
        const sum = weights.reduce((all, weight) => all + weight, weights.includes(0) ? 1 : 0);
        expect(endpoints.reduce((all, { weight = 0 }) => all + weight, 0)).toBeCloseTo(sum, 6);
        expect(endpoints.every(({ weight = 0 }) => weight > 0)).toBe(true);
      }),
    );
  });

  it('does not depend on the order of the records', () => {
    fc.assert(
      fc.property(fc.array(record), targets, (records, addressesOf) => {
        const ids = (all: typeof records): string[] => srvEndpoints(all, addressesOf).map(({ id }) => id);
        expect(ids(records.toReversed())).toEqual(ids(records));
      }),
    );
  });
});

describe('usableRecords', () => {
  it('are those with a target and a port', () => {
    const one = { name: 'A.Example.', port: 80, priority: 0, weight: 0 };
    expect(usableRecords([one, { ...one, name: '' }, { ...one, name: '.' }, { ...one, port: 0 }])).toEqual([
      { ...one, name: 'a.example' },
    ]);
  });
});
