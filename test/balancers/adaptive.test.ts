import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { adaptive } from '../../src/balancers/adaptive.ts';
import { leastConnection } from '../../src/balancers/least-connection.ts';
import { powerOfTwo } from '../../src/balancers/power-of-two.ts';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import { BackendStats, type Backends } from '../../src/core/backend.ts';
import type { Balancer } from '../../src/core/balancer.ts';
import type { Outcome } from '../../src/core/outcome.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { type Policy, type Scenario, simulate } from '../../src/testing/simulate.ts';
import { backend, endpoint, type FakeBackend } from '../../src/testing/values.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const error: Outcome = { kind: 'error', error: new Error('reset'), sent: true, latency: 1 };

/** A client's side of things: a clock, live backends and the balancer. */
class Bench {
  readonly clock = new FakeClock();
  readonly backends: Backends;
  readonly balancer: Balancer = adaptive({ clock: this.clock, random: seeded(1) });

  constructor(count: number, weights?: readonly number[]) {
    const all = Array.from({ length: count }, (_, i) => {
      const at = endpoint(`10.0.${i >> 8}.${i & 255}:80`);
      return new BackendStats(
        weights === undefined ? at : { ...at, weight: weights[i] as number },
        this.clock,
      );
    });
    this.backends = all as unknown as Backends;
  }

  begin(backend: BackendStats): (outcome: Outcome) => void {
    backend.begin();
    const release = this.balancer.begin?.(backend);
    return (outcome) => {
      backend.end(outcome);
      release?.(outcome);
    };
  }

  pick(): BackendStats {
    return this.balancer.pick(this.backends, {}) as BackendStats;
  }

  index(backend: BackendStats): number {
    return this.backends.indexOf(backend);
  }

  /** One call after the other, each taking what `latency` says; returns how many each backend got. */
  async calls(count: number, latency: (index: number) => number | Outcome): Promise<number[]> {
    const got = this.backends.map(() => 0);
    for (let i = 0; i < count; i++) {
      const picked = this.pick();
      const index = this.index(picked);
      got[index] = (got[index] as number) + 1;
      const end = this.begin(picked);
      const result = latency(index);
      const outcome: Outcome =
        typeof result === 'number' ? { kind: 'response', status: 200, latency: result } : result;
      await this.clock.advance(outcome.kind === 'cancelled' ? 1 : outcome.latency);
      end(outcome);
    }
    return got;
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

test('calls in flight are spread exactly evenly over equal backends', () => {
  for (const count of [3, 10, 40, 200]) {
    const bench = new Bench(count);
    for (let i = 0; i < count * 5; i++) bench.begin(bench.pick());
    expect(new Set(bench.backends.map(({ inflight }) => inflight))).toEqual(new Set([5]));
  }
});

test('it reads the calls in flight where it is never told of uses', () => {
  const balancer = adaptive({ random: seeded(1) });
  const backends = [4, 2, 1, 3].map((inflight, i) => backend(`10.0.0.${i}:80`, { inflight }));
  expect(balancer.pick(backends as unknown as Backends, {})).toBe(backends[2]);
});

test('uses that begin elsewhere are seen before long', () => {
  const clock = new FakeClock();
  const balancer = adaptive({ clock, random: seeded(1) });
  const backends = Array.from({ length: 5 }, (_, i) => backend(`10.0.0.${i}:80`));
  const set = backends as unknown as Backends;
  balancer.begin?.(backends[0] as FakeBackend)({ kind: 'cancelled' });
  for (const one of backends.slice(1)) one.inflight = 7;
  let last: unknown;
  for (let i = 0; i < 100; i++) last = balancer.pick(set, {});
  expect(last).toBe(backends[0]);
});

test('a slow backend gets few calls, and its share again once it is as fast as the others', async () => {
  const bench = new Bench(5);
  await bench.calls(100, () => 10);
  const slow = await bench.calls(500, (index) => (index === 2 ? 100 : 10));
  expect(slow[2]).toBeLessThan(25);
  await bench.calls(800, () => 10);
  const healed = await bench.calls(500, () => 10);
  expect(healed[2]).toBeGreaterThan(45);
});

test('failing fast does not attract calls, and one trial after a while is enough to come back', async () => {
  const bench = new Bench(5);
  await bench.calls(100, () => 10);
  const broken = await bench.calls(500, (index) => (index === 2 ? error : 10));
  expect(broken[2]).toBeLessThanOrEqual(2);
  await bench.clock.advance(15_000);
  const healed = await bench.calls(300, () => 10);
  expect(healed[2]).toBeGreaterThan(30);
});

test.each([429, 502, 503, 504])('status %i counts as a failure', async (status) => {
  const bench = new Bench(5);
  await bench.calls(100, () => 10);
  const got = await bench.calls(300, (index) =>
    index === 2 ? { kind: 'response', status, latency: 1 } : 10,
  );
  expect(got[2]).toBeLessThanOrEqual(2);
});

test.each([404, 500])('status %i does not: it says nothing about the pod', async (status) => {
  const bench = new Bench(5);
  const got = await bench.calls(500, (index) =>
    index === 2 ? { kind: 'response', status, latency: 10 } : { kind: 'response', status: 200, latency: 10 },
  );
  expect(got[2]).toBeGreaterThan(45);
});

test.each([Number.POSITIVE_INFINITY, Number.NaN, -1])(
  'a latency of %d says nothing, not even the first',
  async (latency) => {
    const bench = new Bench(5);
    bench.pick();
    for (const backend of bench.backends)
      bench.begin(backend as BackendStats)({ kind: 'response', status: 200, latency });
    const slow = await bench.calls(500, (index) => (index === 2 ? 100 : 10));
    expect(slow[2]).toBeLessThan(35);
  },
);

test('where calls fail everywhere now and then, no backend is shunned for it', async () => {
  const bench = new Bench(5);
  const random = seeded(4);
  const got = await bench.calls(3_000, () => (random() < 0.05 ? error : 10));
  for (const count of got) expect(count).toBeGreaterThan(300);
});

test('when all fail, all are still tried; the first to recover is not flooded', async () => {
  const bench = new Bench(4);
  const failing = await bench.calls(400, () => error);
  for (const count of failing) expect(count).toBeGreaterThan(20);
  for (let i = 0; i < 40; i++) bench.begin(bench.pick());
  for (const { inflight } of bench.backends) expect(inflight).toBeLessThan(20);
});

test('when most fail at once, what is well gets most calls, and what fails gets its turns', async () => {
  const bench = new Bench(5);
  const open: { end: (outcome: Outcome) => void; at: number }[] = [];
  const got = [0, 0, 0, 0, 0];
  for (let i = 0; i < 2_000; i++) {
    const picked = bench.pick();
    const index = bench.index(picked);
    got[index] = (got[index] as number) + 1;
    const end = bench.begin(picked);
    if (index === 0) open.push({ end, at: i });
    else end(error);
    await bench.clock.advance(1);
    while (open[0] !== undefined && open[0].at + 20 <= i)
      open.shift()?.end({ kind: 'response', status: 200, latency: 20 });
  }
  const [well, ...ill] = got as [number, ...number[]];
  expect(well).toBeGreaterThan(800);
  for (const count of ill) expect(count).toBeGreaterThan(50);
});

test('a backend that fails after it has left is not counted among those that are broken', async () => {
  const bench = new Bench(4);
  await bench.calls(60, () => 10);
  const { backends } = bench;
  const left = backends.slice(0, 3) as unknown as Backends;
  const fail = bench.begin(backends[3] as BackendStats);
  bench.balancer.pick(left, {});
  fail(error);
  let broken = 0;
  for (let i = 0; i < 60; i++) {
    const picked = bench.balancer.pick(left, {}) as BackendStats;
    const end = bench.begin(picked);
    await bench.clock.advance(10);
    if (picked === left[1]) broken++;
    end(picked === left[1] ? error : { kind: 'response', status: 200, latency: 10 });
  }
  expect(broken).toBeLessThanOrEqual(2);
});

test('a call that gets no answer makes its backend dearer before any answer comes', async () => {
  const bench = new Bench(3);
  await bench.calls(60, () => 10);
  const stuck = bench.pick();
  bench.begin(stuck);
  await bench.clock.advance(500);
  // The others may take several calls each before the stuck one gets another.
  for (let i = 0; i < 8; i++) bench.begin(bench.pick());
  expect(stuck.inflight).toBe(1);
});

test('no timer runs for streams alone', async () => {
  const bench = new Bench(4);
  await bench.calls(60, () => 10);
  for (const backend of bench.backends) bench.begin(backend as BackendStats);
  await bench.clock.advance(60_000);
  expect(bench.clock.pending).toBe(0);
  const end = bench.begin(bench.pick());
  expect(bench.clock.pending).toBe(1);
  end({ kind: 'response', status: 200, latency: 10 });
  await bench.clock.advance(100);
  expect(bench.clock.pending).toBe(0);
});

test('a long stream is not taken for a stall', async () => {
  const bench = new Bench(3);
  await bench.calls(60, () => 10);
  const streaming = bench.pick();
  bench.begin(streaming);
  await bench.clock.advance(60_000);
  for (let i = 0; i < 8; i++) bench.begin(bench.pick());
  expect(bench.backends.map(({ inflight }) => inflight)).toEqual([3, 3, 3]);
});

test('answers that our own stall delayed are not held against a backend', async () => {
  const share = async (blocked: boolean): Promise<number> => {
    const bench = new Bench(4);
    await bench.calls(200, () => 10);
    const { clock } = bench;
    const now = clock.now.bind(clock);
    let late = 0;
    clock.now = () => now() + late;
    for (let round = 0; round < 5; round++) {
      const end = bench.begin(bench.backends[1] as BackendStats);
      if (blocked) {
        // The timer that is due comes late together with the answer, as after a blocked event loop.
        const began = clock.now();
        late += 300;
        await clock.advance(clock.next ?? 0);
        end({ kind: 'response', status: 200, latency: clock.now() - began });
      } else {
        await bench.clock.advance(310);
        end({ kind: 'response', status: 200, latency: 310 });
      }
    }
    const got = await bench.calls(200, () => 10);
    return (got[1] as number) / sum(got);
  };
  expect(await share(true)).toBeGreaterThan(0.15);
  expect(await share(false)).toBeLessThan(0.1);
});

test('a cancelled call says nothing when it was short, and that the backend is slow when it was long', async () => {
  const after = async (wait: number): Promise<number> => {
    const bench = new Bench(4);
    await bench.calls(200, () => 10);
    for (let i = 0; i < 5; i++) {
      const end = bench.begin(bench.backends[1] as BackendStats);
      await bench.clock.advance(wait);
      end({ kind: 'cancelled' });
    }
    return (await bench.calls(100, () => 10))[1] as number;
  };
  expect(await after(1)).toBeGreaterThan(10);
  expect(await after(400)).toBeLessThan(10);
});

test('shares follow the weights, and give way under load', async () => {
  const bench = new Bench(3, [8, 1, 1]);
  const got = await bench.calls(1_000, () => 10);
  expect((got[0] as number) / 1_000).toBeCloseTo(0.8, 1);
  const drained = new Bench(3, [1, 1, 0]);
  expect((await drained.calls(300, () => 10))[2]).toBe(0);
});

test('no timer waits while nothing is in flight, and one at most otherwise', async () => {
  const { clock, ...rest } = new Bench(3);
  const bench = Object.assign(Object.create(Bench.prototype), { clock, ...rest }) as Bench;
  expect(clock.pending).toBe(0);
  const ends = [bench.begin(bench.pick()), bench.begin(bench.pick())];
  expect(clock.pending).toBe(1);
  await clock.advance(5_000);
  expect(clock.pending).toBe(1);
  for (const end of ends) end({ kind: 'cancelled' });
  await clock.advance(30);
  expect(clock.pending).toBe(0);
});

test('a balancer that two services share serves each by itself', async () => {
  const bench = new Bench(3);
  const other = new Bench(3);
  const shared = { clock: bench.clock, balancer: bench.balancer };
  for (let i = 0; i < 60; i++) {
    await bench.calls(1, () => 10);
    const picked = shared.balancer.pick(other.backends, {}) as BackendStats;
    expect(other.backends).toContain(picked);
    picked.begin();
    const release = shared.balancer.begin?.(picked);
    await shared.clock.advance(500);
    const outcome: Outcome = { kind: 'response', status: 200, latency: 500 };
    picked.end(outcome);
    release?.(outcome);
  }
  // The other service is fifty times as slow, which says nothing about this one's backends.
  const got = await bench.calls(90, () => 10);
  for (const count of got) expect(count).toBeGreaterThan(10);
});

describe('in simulation', () => {
  const policies: Record<string, Policy> = {
    roundRobin: ({ random }) => roundRobin({ random }),
    powerOfTwo: ({ random }) => powerOfTwo({ random }),
    leastConnection: ({ random }) => leastConnection({ random }),
    adaptive: ({ clock, random }) => adaptive({ clock, random }),
  };
  /** p99 as a multiple of the ideal's: geometric mean over three utilisations. */
  const run = (scenario: Scenario): Record<string, number> => {
    const means: Record<string, number> = {};
    for (const utilisation of [0.5, 0.7, 0.9]) {
      const result = simulate({ requests: 30_000, ...scenario, utilisation, policies });
      for (const [name, { overIdeal }] of Object.entries(result.policies))
        means[name] = (means[name] ?? 1) * (overIdeal as number) ** (1 / 3);
    }
    return means;
  };

  // Bounds: the tail as a share of exact least connection's, as the figures that were to be beaten have it.
  test.each<[string, Scenario, number]>([
    ['equal pods', {}, 1.66 / 1.8],
    ['bimodal times', { service: { kind: 'bimodal', mean: 10 } }, 1.65 / 1.9],
    ['heavy tails', { service: { kind: 'pareto', mean: 10 } }, 2.96 / 3],
    ['pods three times apart', { speeds: [1, 3, 1.7] }, 0.5],
    [
      'a stalling pod',
      { happenings: [{ kind: 'stall', at: 20_000, pods: [0], duration: 2_000 }] },
      1.74 / 1.9,
    ],
    [
      'cold pods that join',
      { pods: 30, happenings: [{ kind: 'join', at: 3_000, count: 6, coldFor: 3_000 }] },
      0.4,
    ],
  ])('%s: the tail is shorter than any other policy has, and near the ideal', (_, scenario, bound) => {
    const { adaptive = Number.NaN, ...others } = run(scenario);
    // Single runs differ by a few per cent.
    expect(adaptive / (others['leastConnection'] as number)).toBeLessThanOrEqual(bound * 1.05);
    for (const other of Object.values(others)) expect(adaptive).toBeLessThan(other);
  });

  test('a black hole among ten pods costs ten clients at most 0.2 % of their calls, without retries', () => {
    const { policies: results } = simulate({
      happenings: [{ kind: 'failFast', at: 0, pods: [0], duration: 1e9 }],
      policies: { adaptive: policies['adaptive'] as Policy },
      references: false,
    });
    expect(results['adaptive']?.failed).toBeLessThanOrEqual(0.002);
  });

  test.each([
    ['exponential', 1],
    ['exponential', 3],
    ['exponential', 10],
    ['bimodal', 1],
    ['bimodal', 3],
    ['bimodal', 10],
    ['pareto', 1],
    ['pareto', 3],
    ['pareto', 10],
  ] as const)(
    'where many equal pods are nearly idle, chance makes none preferred (%s times, %i clients)',
    (kind, clients) => {
      const { policies: results } = simulate({
        clients,
        pods: 100,
        utilisation: 0.1,
        requests: 60_000,
        service: { kind, mean: 10 },
        policies: { adaptive: policies['adaptive'] as Policy },
        references: false,
      });
      // Within any 20 s; that most of 100 Poisson counts with a mean of 200 is about 1.2 times it.
      const pods = results['adaptive']?.pods ?? [];
      for (let from = 0; from <= 40; from += 5) {
        const calls = pods.map(({ timeline }) => sum(timeline.slice(from, from + 20)));
        expect((Math.max(...calls) / sum(calls)) * pods.length).toBeLessThan(1.8);
      }
    },
  );

  test('a slow pod among many that are nearly idle gets few calls, and its share again once it is well', () => {
    const { policies: results } = simulate({
      clients: 1,
      pods: 20,
      utilisation: 0.15,
      requests: 18_000,
      happenings: [{ kind: 'speed', at: 20_000, pods: [0], duration: 20_000, speed: 0.3 }],
      policies: { adaptive: policies['adaptive'] as Policy },
      references: false,
    });
    const pods = results['adaptive']?.pods ?? [];
    const share = (from: number, to: number): number => {
      const calls = pods.map(({ timeline }) => sum(timeline.slice(from, to)));
      return ((calls[0] as number) / sum(calls)) * pods.length;
    };
    expect(share(23, 40)).toBeLessThan(0.2);
    expect(share(46, 60)).toBeGreaterThan(0.45);
  });

  test('clients whose own event loop was blocked still spread evenly', () => {
    const { policies: results } = simulate({
      requests: 40_000,
      happenings: [20, 30, 40].map((s) => ({
        kind: 'pause' as const,
        at: s * 1_000,
        clients: [0, 1, 2, 3, 4],
        duration: 300,
      })),
      policies: { adaptive: policies['adaptive'] as Policy },
      references: false,
    });
    expect(results['adaptive']?.maxOverMean).toBeLessThan(1.3);
  });
});

test('a release that is called twice counts once', () => {
  const bench = new Bench(3);
  const one = bench.backends[0] as BackendStats;
  one.begin();
  const release = bench.balancer.begin?.(one);
  one.end({ kind: 'cancelled' });
  release?.({ kind: 'cancelled' });
  release?.({ kind: 'cancelled' });
  for (let i = 0; i < 6; i++) bench.begin(bench.pick());
  expect(bench.backends.map(({ inflight }) => inflight)).toEqual([2, 2, 2]);
});

test('what has left is not kept in memory', async () => {
  const bench = new Bench(10);
  await bench.calls(200, (index) => 10 + index);
  const left = new WeakRef(bench.backends[9] as BackendStats);
  const rest = bench.backends.slice(0, 9) as unknown as Backends;
  (bench as { backends: Backends }).backends = rest;
  await bench.calls(20, () => 10);
  await bench.clock.advance(1_000);
  await new Promise(setImmediate);
  gc();
  expect(left.deref()).toBeUndefined();
  expect(bench.pick()).toBeDefined();
});
