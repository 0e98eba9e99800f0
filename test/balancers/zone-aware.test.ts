import { expect, test } from 'vitest';
import { adaptive } from '../../src/balancers/adaptive.ts';
import { leastConnection } from '../../src/balancers/least-connection.ts';
import { zoneAware } from '../../src/balancers/zone-aware.ts';
import type { Backend, Backends } from '../../src/core/backend.ts';
import type { Balancer } from '../../src/core/balancer.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { type Policy, type RunResult, type Scenario, simulate } from '../../src/testing/simulate.ts';
import { backend, endpoint, type FakeBackend } from '../../src/testing/values.ts';

const zones = (a: number, b: number): string[] => [...Array(a).fill('a'), ...Array(b).fill('b')];

/** Runs with and without zones in mind; `near` is the share of the calls that stayed in the zone. */
function run(scenario: Scenario): { zoned: RunResult; plain: RunResult; near: number } {
  let near = 0;
  let all = 0;
  const counting: Policy = ({ clock, random, zone = '' }) => {
    const inner = zoneAware(adaptive({ clock, random }), { zone, random });
    return {
      pick(backends, request) {
        const picked = inner.pick(backends, request);
        all++;
        if (picked.endpoint.zone === zone) near++;
        return picked;
      },
      begin: (picked) => inner.begin?.(picked) ?? (() => {}),
    };
  };
  const plain: Policy = ({ clock, random }) => adaptive({ clock, random });
  const { policies } = simulate({
    requests: 40_000,
    ...scenario,
    policies: { zoned: counting, plain },
    references: false,
  });
  return { zoned: policies['zoned'] as RunResult, plain: policies['plain'] as RunResult, near: near / all };
}

test('calls stay in the zone where it can serve them, and the tail stays as it is', () => {
  const { zoned, plain, near } = run({ podZones: zones(5, 5), clientZones: zones(5, 5) });
  expect(near).toBeGreaterThan(0.9);
  expect(zoned.p99).toBeLessThan(plain.p99 * 1.15);
});

test('a zone with one pod and half of the clients is not overloaded', () => {
  const { zoned, plain } = run({ podZones: zones(1, 9), clientZones: zones(5, 5) });
  expect(zoned.maxOverMean).toBeLessThan(1.4);
  expect(zoned.p99).toBeLessThan(plain.p99 * 1.5);
});

test('a small zone costs little at high load, nor does one that is slow', () => {
  const small = run({ podZones: zones(1, 9), clientZones: ['a'], utilisation: 0.9 });
  expect(small.zoned.maxOverMean).toBeLessThan(1.2);
  expect(small.zoned.p99).toBeLessThan(small.plain.p99 * 1.6);
  const slow = run({
    podZones: zones(5, 5),
    clientZones: zones(5, 5),
    speeds: [...Array(5).fill(0.2), ...Array(5).fill(1)],
    utilisation: 0.4,
  });
  expect(slow.zoned.p99).toBeLessThan(slow.plain.p99 * 1.2);
});

test('when the pods of the zone fail, few calls do, and the zone is preferred again when they are well', () => {
  const { zoned } = run({
    podZones: zones(5, 5),
    clientZones: ['a'],
    utilisation: 0.2,
    happenings: [{ kind: 'failFast', at: 30_000, pods: [0, 1, 2, 3, 4], duration: 30_000 }],
  });
  expect(zoned.failed).toBeLessThan(0.015);
  const sum = (pods: RunResult['pods'], from: number): number =>
    pods.flatMap(({ timeline }) => timeline.slice(from, from + 10)).reduce((a, b) => a + b, 0);
  const near = (from: number): number => sum(zoned.pods.slice(0, 5), from) / sum(zoned.pods, from);
  expect(near(45)).toBeLessThan(0.05);
  expect(near(150)).toBeGreaterThan(0.8);
});

test('when the pods of the zone stall, calls go elsewhere', () => {
  const { zoned } = run({
    podZones: zones(5, 5),
    clientZones: zones(5, 5),
    utilisation: 0.4,
    happenings: [{ kind: 'stall', at: 40_000, pods: [0, 1, 2, 3, 4], duration: 5_000 }],
  });
  const during = zoned.pods.map(({ timeline }) => timeline.slice(41, 44).reduce((a, b) => a + b, 0));
  const a = during.slice(0, 5).reduce((x, y) => x + y, 0);
  const b = during.slice(5).reduce((x, y) => x + y, 0);
  expect(a / (a + b)).toBeLessThan(0.25);
});

test('without pods in the zone, or with no others, it is as if there were no zones', () => {
  const balancer = zoneAware(leastConnection({ random: seeded(1) }), { zone: 'c', random: seeded(1) });
  const backends = [1, 2, 3].map((i) => backend({ ...endpoint(`10.0.0.${i}:80`), zone: 'a' }));
  const picked = new Set<unknown>();
  for (let i = 0; i < 50; i++) picked.add(balancer.pick(backends as unknown as Backends, {}));
  expect(picked.size).toBe(3);
});

test('when all of the zone have been tried, one elsewhere is picked', () => {
  const balancer = zoneAware(leastConnection(), { zone: 'a' });
  const near: FakeBackend = backend({ ...endpoint('10.0.0.1:80'), zone: 'a' });
  const far: FakeBackend = backend({ ...endpoint('10.0.0.2:80'), zone: 'b' });
  for (let i = 0; i < 50; i++) expect(balancer.pick([near, far], { tried: new Set([near]) })).toBe(far);
});

test('services that share one balancer do not disturb one another', () => {
  const balancer = zoneAware(leastConnection({ random: seeded(1) }), { zone: 'a', random: seeded(2) });
  const service = (net: number): Backends =>
    ['a', 'a', 'b', 'b'].map((zone, i) =>
      backend(endpoint({ address: `10.${net}.0.${i}`, zone })),
    ) as unknown as Backends;
  const near = (backends: Backends, latency: (zone: string | undefined) => number): boolean => {
    const picked = balancer.pick(backends, {});
    const { zone } = picked.endpoint;
    balancer.begin?.(picked)({ kind: 'response', status: 200, latency: latency(zone) });
    return zone === 'a';
  };
  const [one, other] = [service(1), service(2)];
  let kept = 0;
  let left = 0;
  for (let i = 0; i < 4_000; i++) {
    if (near(one, () => 10) && i >= 2_000) kept++;
    // In this one, the pods of the zone are slow.
    if (!near(other, (zone) => (zone === 'a' ? 1_000 : 100)) && i >= 2_000) left++;
  }
  expect(kept / 2_000).toBeGreaterThan(0.95);
  // An even spread is the most that goes elsewhere.
  expect(left / 2_000).toBeGreaterThan(0.45);
});

test('a latency that is none says nothing', () => {
  const balancer = zoneAware(leastConnection({ random: seeded(1) }), { zone: 'a', random: seeded(2) });
  const backends = ['a', 'a', 'b', 'b'].map((zone, i) =>
    backend(endpoint({ address: `10.0.0.${i}`, zone })),
  ) as unknown as Backends;
  const answer = (picked: Backend, latency: number): void =>
    balancer.begin?.(picked)({ kind: 'response', status: 200, latency });
  balancer.pick(backends, {});
  for (const latency of [Number.NaN, Number.POSITIVE_INFINITY, -1])
    for (const one of backends) answer(one, latency);
  let near = 0;
  for (let i = 0; i < 4_000; i++) {
    const picked = balancer.pick(backends, {});
    answer(picked, 10);
    if (picked.endpoint.zone === 'a' && i >= 2_000) near++;
  }
  expect(near / 2_000).toBeGreaterThan(0.95);
});

test('bad options are told at once', () => {
  expect(() => zoneAware({} as never, { zone: 'a' })).toThrow('has no method pick()');
  expect(() => zoneAware(leastConnection(), {} as never)).toThrow('option zone is missing');
  expect(() => zoneAware(leastConnection(), { zone: '' })).toThrow('must be a non-empty string');
});

test('a release that is called twice counts once, and ends no other use', () => {
  const ended: string[] = [];
  const inner: Balancer = {
    pick: (backends) => backends[0],
    begin:
      ({ endpoint: { id } }) =>
      () =>
        void ended.push(id),
  };
  const balancer = zoneAware(inner, { zone: 'a' });
  const at = (name: string): FakeBackend => backend(endpoint({ address: '10.0.0.1', id: name, zone: 'a' }));
  const first = balancer.begin?.(at('first'));
  first?.({ kind: 'cancelled' });
  first?.({ kind: 'cancelled' });
  const second = balancer.begin?.(at('second'));
  const third = balancer.begin?.(at('third'));
  second?.({ kind: 'cancelled' });
  third?.({ kind: 'cancelled' });
  expect(ended).toEqual(['first', 'second', 'third']);
});
