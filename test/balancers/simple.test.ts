import fc from 'fast-check';
import { expect, test } from 'vitest';
import { adaptive } from '../../src/balancers/adaptive.ts';
import { consistentHash } from '../../src/balancers/consistent-hash.ts';
import { Counts } from '../../src/balancers/counts.ts';
import { leastConnection } from '../../src/balancers/least-connection.ts';
import { Levels } from '../../src/balancers/levels.ts';
import { inflight, peakEwma } from '../../src/balancers/load.ts';
import { powerOfTwo } from '../../src/balancers/power-of-two.ts';
import { random } from '../../src/balancers/random.ts';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import { weightedRoundRobin } from '../../src/balancers/weighted-round-robin.ts';
import { type Backend, BackendStats, type Backends } from '../../src/core/backend.ts';
import type { Balancer } from '../../src/core/balancer.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { backend, endpoint, type FakeBackend } from '../../src/testing/values.ts';

function fleet(count: number, weights?: readonly (number | undefined)[]): Backends & readonly FakeBackend[] {
  const all = Array.from({ length: count }, (_, i) => {
    const at = endpoint(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}:80`);
    const weight = weights?.[i];
    return backend(weight === undefined ? at : { ...at, weight });
  });
  return all as unknown as Backends & readonly FakeBackend[];
}

function counts(
  balancer: Balancer,
  backends: Backends,
  picks: number,
  key?: (i: number) => string,
): number[] {
  const got = new Map<Backend, number>(backends.map((one) => [one, 0]));
  for (let i = 0; i < picks; i++) {
    const picked = balancer.pick(backends, key === undefined ? {} : { hashKey: key(i) });
    got.set(picked, (got.get(picked) as number) + 1);
  }
  return [...got.values()];
}

test('round-robin: each in turn, from a random place, and a changed set goes on behind the last', () => {
  const balancer = roundRobin({ random: () => 0.5 });
  const backends = fleet(4);
  const ids = (set: Backends, picks: number): string[] =>
    Array.from({ length: picks }, () => balancer.pick(set, {}).endpoint.address.slice(-1));
  expect(ids(backends, 5)).toEqual(['2', '3', '0', '1', '2']);
  expect(ids(backends.slice(1) as unknown as Backends, 3)).toEqual(['3', '1', '2']);
});

test('random: all alike', () => {
  for (const count of counts(random({ random: seeded(1) }), fleet(10), 100_000)) {
    expect(count).toBeGreaterThan(9_500);
    expect(count).toBeLessThan(10_500);
  }
});

test('weighted round-robin: exactly the weights in every round, and evenly spread', () => {
  const balancer = weightedRoundRobin({ random: seeded(1) });
  const backends = fleet(3, [5, 1, 1]);
  for (let round = 0; round < 50; round++) expect(counts(balancer, backends, 7)).toEqual([5, 1, 1]);
  // Between two turns of the heavy one there is never more than one of each other.
  let others = 0;
  for (let i = 0; i < 700; i++) {
    others = balancer.pick(backends, {}) === backends[0] ? 0 : others + 1;
    expect(others).toBeLessThanOrEqual(2);
  }
});

test('weighted round-robin: the light ones are kept apart, whatever the start', () => {
  for (let seed = 0; seed < 200; seed++) {
    const balancer = weightedRoundRobin({ random: seeded(seed) });
    const backends = fleet(3, [5, 1, 1]);
    let run = 0;
    for (let i = 0; i < 70; i++) {
      run = balancer.pick(backends, {}) === backends[0] ? run + 1 : 0;
      // As in nginx's a a b a c a a, round after round.
      expect(run).toBeLessThanOrEqual(4);
    }
  }
});

test('weighted round-robin: weight 0 rests while another has weight; what is no weight counts as 1', () => {
  const picks = (weights: readonly (number | undefined)[], n: number): number[] =>
    counts(weightedRoundRobin({ random: seeded(1) }), fleet(weights.length, weights), n);
  expect(picks([0, 1], 10)).toEqual([0, 10]);
  expect(picks([0, 0], 10)).toEqual([5, 5]);
  expect(picks([-3, Number.NaN, Number.POSITIVE_INFINITY, undefined, 2], 60)).toEqual([10, 10, 10, 10, 20]);
  expect(picks([1e300, 1e300, 1e-300], 10)).toEqual([5, 5, 0]);
});

test('weighted round-robin: a changed set keeps the turns of those that stay', () => {
  const balancer = weightedRoundRobin({ random: seeded(1) });
  const backends = fleet(10);
  const first = new Set(Array.from({ length: 5 }, () => balancer.pick(backends, {})));
  const fewer = backends.slice(0, 9) as unknown as Backends;
  const left = fewer.filter((one) => !first.has(one)).length;
  const then = Array.from({ length: left }, () => balancer.pick(fewer, {}));
  expect(then.filter((one) => first.has(one))).toEqual([]);
});

test('least connection: exactly the fewest, random among equals, for any number of backends', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.integer(), fc.boolean(), (count, seed, told) => {
      const chance = seeded(seed);
      const balancer = leastConnection({ random: chance });
      const backends = fleet(count);
      const ends: (() => void)[] = [];
      for (let i = 0; i < 300; i++) {
        if (ends.length > 0 && chance() < 0.45) {
          ends.splice(Math.floor(chance() * ends.length), 1)[0]?.();
          continue;
        }
        const picked = balancer.pick(backends, {}) as FakeBackend;
        expect(picked.inflight).toBe(Math.min(...backends.map((one) => one.inflight)));
        picked.inflight++;
        const release = told ? balancer.begin?.(picked) : undefined;
        ends.push(() => {
          picked.inflight--;
          release?.({ kind: 'cancelled' });
        });
      }
    }),
    { numRuns: 50 },
  );
  for (const size of [5, 50]) {
    const got = counts(leastConnection({ random: seeded(2) }), fleet(size), size * 1_000);
    for (const count of got) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  }
});

test('power of two: the less loaded of two that differ', () => {
  const backends = fleet(2);
  (backends[0] as FakeBackend).inflight = 3;
  expect(counts(powerOfTwo({ random: seeded(1) }), backends, 100)).toEqual([0, 100]);
  const [first, second, third] = [fleet(3)[0], ...fleet(3).slice(1)] as FakeBackend[];
  (third as FakeBackend).inflight = 9;
  const got = counts(powerOfTwo({ random: seeded(1) }), [first, second, third] as unknown as Backends, 1_000);
  expect(got[2]).toBe(0);
});

test('power of two: a load that throws or is no number makes its backend the worse one', () => {
  const backends = fleet(2);
  for (const bad of [Number.NaN, undefined, 'x', new Error('bug')]) {
    const load = (one: Backend): number => {
      if (one !== backends[0]) return 1e9;
      if (bad instanceof Error) throw bad;
      return bad as number;
    };
    expect(counts(powerOfTwo({ load, random: seeded(1) }), backends, 100)).toEqual([0, 100]);
  }
  const throws = (): number => {
    throw new Error('bug');
  };
  for (const count of counts(powerOfTwo({ load: throws, random: seeded(1) }), fleet(4), 4_000))
    expect(count).toBeGreaterThan(700);
});

test('inflight: the calls from here', () => {
  expect(inflight()(backend('10.0.0.1:80', { inflight: 3 }))).toBe(3);
});

test('peakEwma: latency times calls, forgotten in time, and like the others while unknown', async () => {
  const clock = new FakeClock();
  const load = peakEwma({ clock });
  expect(load(backend('10.0.0.1:80'))).toBe(30);
  const busy = backend('10.0.0.2:80', { latency: 100, inflight: 2 });
  expect(load(busy)).toBe(300);
  expect(load(backend('10.0.0.3:80', { inflight: 1 }))).toBe(200);
  await clock.advance(10_000);
  expect(load(busy)).toBeCloseTo(300 / Math.E);
});

test('hashing: keys follow the weights, and a weight of 0 owns none', () => {
  const weights = [1, 2, 3, 0, 10];
  const got = counts(consistentHash(), fleet(5, weights), 64_000, (i) => `key ${i}`);
  weights.forEach((weight, i) => {
    expect(Math.abs((got[i] as number) / 4_000 - weight)).toBeLessThan(weight * 0.25 + 0.001);
  });
});

test('hashing: weights great or small, removing one moves only its keys', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 16 }), { minLength: 2, maxLength: 12 }),
      fc.nat(),
      (weights, which) => {
        const all = fleet(weights.length, weights);
        const gone = all[which % all.length] as FakeBackend;
        const left = all.filter((one) => one !== gone) as unknown as Backends;
        // When all that is left weighs nothing, all of it counts the same.
        if (left.every((one) => one.endpoint.weight === 0)) return;
        const balancer = consistentHash();
        for (let i = 0; i < 500; i++) {
          const before = balancer.pick(all, { hashKey: `key ${i}` });
          if (before !== gone) expect(balancer.pick(left, { hashKey: `key ${i}` })).toBe(before);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('hashing: without a key any backend; a tried owner is followed by the next on the ring', () => {
  const balancer = consistentHash({ random: seeded(1) });
  const backends = fleet(10);
  for (const count of counts(balancer, backends, 10_000)) expect(count).toBeGreaterThan(800);
  const owner = balancer.pick(backends, { hashKey: 'k' });
  const second = balancer.pick(backends, { hashKey: 'k', tried: new Set([owner]) });
  const without = backends.filter((one) => one !== owner) as unknown as Backends;
  expect(balancer.pick(without, { hashKey: 'k' })).toBe(second);
});

test('hashing: long keys differ by their ends and their length', () => {
  const balancer = consistentHash();
  const backends = fleet(1_000);
  const long = 'x'.repeat(100_000);
  const picks = [long, `${long}y`, `y${long}`, `${long}x`].map((hashKey) =>
    balancer.pick(backends, { hashKey }),
  );
  expect(new Set(picks).size).toBe(4);
});

test('hashing with a bound: no backend gets more than its share allows, however hot a key', () => {
  const balancer = consistentHash({ boundedLoad: 1.25, random: seeded(1) });
  const backends = fleet(20);
  const owner = consistentHash().pick(backends, { hashKey: 'hot' });
  expect(balancer.pick(backends, { hashKey: 'hot' })).toBe(owner);
  for (let i = 1; i <= 2_000; i++) {
    const picked = balancer.pick(backends, { hashKey: i % 3 === 0 ? `key ${i}` : 'hot' }) as FakeBackend;
    picked.inflight++;
    balancer.begin?.(picked);
    expect(picked.inflight).toBeLessThanOrEqual(Math.ceil((1.25 * i) / 20));
  }
});

test('hashing: a ring that grew through changes is the ring made at once', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 30 }), { minLength: 1, maxLength: 20 }), (toggles) => {
      const all = fleet(
        31,
        Array.from({ length: 31 }, (_, i) => 1 + (i % 3)),
      );
      const present = new Set<FakeBackend>(all.slice(0, 5));
      const changing = consistentHash();
      let set = [...present] as unknown as Backends;
      changing.pick(set, { hashKey: 'k' });
      for (const toggle of toggles) {
        const one = all[toggle] as FakeBackend;
        if (!present.delete(one)) present.add(one);
        if (present.size === 0) continue;
        set = [...present] as unknown as Backends;
        changing.pick(set, { hashKey: 'k' });
      }
      const made = consistentHash();
      for (let i = 0; i < 300; i++) {
        const request = { hashKey: `key ${i}` };
        expect(changing.pick(set, request)).toBe(made.pick(set, request));
      }
    }),
    { numRuns: 30 },
  );
});

test('bad options are told at once', () => {
  expect(() => consistentHash({ boundedLoad: 125 })).toThrow(
    new RangeError('consistentHash: option boundedLoad must be between 1 and 10, got 125'),
  );
  expect(() => consistentHash({ boundedLoad: Number.NaN })).toThrow(RangeError);
  expect(() => powerOfTwo({ load: 3 as never })).toThrow(TypeError);
  expect(() => roundRobin({ rnd: () => 0 } as never)).toThrow(
    'roundRobin: unknown option rnd: known are random',
  );
});

test('levels and counts agree with a plain search', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.array(fc.tuple(fc.nat(), fc.nat({ max: 300 }))),
      (n, moves) => {
        const levels = new Levels(n);
        const sorted = new Counts(n);
        const plain = new Array<number>(n).fill(0);
        for (const [item, level] of moves) {
          plain[item % n] = level;
          levels.move(item % n, level);
          sorted.set(item % n, level);
          const least = Math.min(...plain);
          expect(levels.lowest()).toBe(least);
          expect(plain[levels.draw(least, Math.random)]).toBe(least);
          expect(plain[sorted.least(Math.random)]).toBe(least);
          const not = (index: number): boolean => plain[index] !== least;
          const next = Math.min(...plain.filter((value) => value !== least));
          for (const found of [levels.find(Math.random, not), sorted.find(Math.random, not)])
            expect(found === -1 ? Number.POSITIVE_INFINITY : plain[found]).toBe(next);
        }
      },
    ),
  );
});

test('real stats of a backend can be picked by', () => {
  const clock = new FakeClock();
  const backends = [1, 2].map((i) => new BackendStats(endpoint(`10.0.0.${i}:80`), clock));
  backends[0]?.begin();
  expect(leastConnection().pick(backends as unknown as Backends, {})).toBe(backends[1]);
});

test('hashing: a key that is no string counts as it is written, and null as none', () => {
  for (const options of [{}, { boundedLoad: 1.25 }]) {
    const balancer = consistentHash({ ...options, random: seeded(1) });
    const backends = fleet(10);
    for (const key of [7, 7.5, true, 8n, { toString: () => 'own' }]) {
      const hashKey = key as unknown as string;
      expect(balancer.pick(backends, { hashKey })).toBe(balancer.pick(backends, { hashKey: String(key) }));
    }
    const hashKey = null as unknown as string;
    expect(new Set(Array.from({ length: 100 }, () => balancer.pick(backends, { hashKey }))).size).toBe(10);
  }
});

test('least connection: comes to a pick where numbers of calls are none that can be', () => {
  const balancer = leastConnection({ random: seeded(1) });
  const backends = fleet(20);
  balancer.begin?.(backends[0])({ kind: 'cancelled' });
  for (const inflight of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, -0.5, 2 ** 31]) {
    for (const one of backends) one.inflight = inflight;
    for (let i = 0; i < 100; i++) expect(backends).toContain(balancer.pick(backends, {}));
  }
});

test.each<[string, Balancer, (least: number, total: number) => number]>([
  ['least connection', leastConnection({ random: seeded(1) }), (least) => least],
  ['adaptive', adaptive({ clock: new FakeClock(), random: seeded(1) }), (least) => least],
  [
    'hashing with a bound',
    consistentHash({ boundedLoad: 1.25, random: seeded(1) }),
    (_, total) => Math.ceil((1.25 * (total + 1)) / 15) - 1,
  ],
])('%s: sets that overlap and take turns are each seen as they are', (_, balancer, most) => {
  const all = fleet(20);
  const sets = [all.slice(0, 15), all.slice(5)] as unknown as (Backends & readonly FakeBackend[])[];
  const chance = seeded(2);
  const ends: (() => void)[] = [];
  for (let i = 0; i < 3_000; i++) {
    if (ends.length > 0 && chance() < ends.length / 150) {
      ends.splice(Math.floor(chance() * ends.length), 1)[0]?.();
      continue;
    }
    const set = sets[chance() < 0.5 ? 0 : 1] as Backends & readonly FakeBackend[];
    const calls = set.map(({ inflight: count }) => count);
    const picked = balancer.pick(set, { hashKey: `key ${i}` }) as FakeBackend;
    expect(picked.inflight).toBeLessThanOrEqual(
      most(
        Math.min(...calls),
        calls.reduce((a, b) => a + b),
      ),
    );
    picked.inflight++;
    const release = balancer.begin?.(picked);
    ends.push(() => {
      picked.inflight--;
      release?.({ kind: 'cancelled' });
    });
  }
});
