import { expect, test } from 'vitest';
import { adaptive } from '../../src/balancers/adaptive.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { choose, subset } from '../../src/resolvers/subset.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { simulate } from '../../src/testing/simulate.ts';
import { endpoint } from '../../src/testing/values.ts';

const target = { protocol: 'http:', host: 'orders.shop' };

function pods(count: number, from = 0): Endpoint[] {
  return Array.from({ length: count }, (_, i) =>
    endpoint({ address: `10.1.${((i + from) >> 8) & 255}.${(i + from) & 255}`, id: `uid-${i + from}` }),
  );
}

test('a part of the set, the same each time, in the order it came; small sets pass whole', async () => {
  const resolver = new FakeResolver();
  const sets: (readonly Endpoint[])[] = [];
  const errors: Error[] = [];
  const watch = subset(resolver, { size: 10, key: 'me' }).watch(target, {
    onEndpoints: (endpoints) => sets.push(endpoints),
    onError: (error) => errors.push(error),
  });
  const all = pods(100);
  await Promise.resolve();
  resolver.set(all);
  resolver.set([...all]);
  resolver.set(all.slice(0, 7));
  const last = sets.slice(-3);
  expect(last[0]?.length).toBe(10);
  expect(last[1]).toEqual(last[0]);
  expect(all.filter((one) => last[0]?.includes(one))).toEqual(last[0]);
  expect(last[2]?.length).toBe(7);
  resolver.fail(new Error('down'));
  expect(errors.map(({ message }) => message)).toEqual(['down']);
  await watch.close();
  expect(resolver.watches).toBe(0);
});

test('the key tells clients apart', () => {
  const all = pods(100);
  expect(choose(all, 10, 'one')).not.toEqual(choose(all, 10, 'other'));
  expect(choose(all, 10, 'one')).toEqual(choose(all, 10, 'one'));
});

test('an endpoint that goes is replaced by one, and nothing else changes', () => {
  const all = pods(500);
  for (let client = 0; client < 50; client++) {
    const before = choose(all, 20, `client ${client}`);
    const gone = before[3] as Endpoint;
    const after = choose(
      all.filter((one) => one !== gone),
      20,
      `client ${client}`,
    );
    expect(after.filter((one) => !before.includes(one)).length).toBe(1);
    expect(before.filter((one) => !after.includes(one))).toEqual([gone]);
  }
});

/** 1,000 clients of 5,000 pods: connections per pod over their mean, and connections changed by 1 % more pods. */
function fleet(size: number): { most: number; least: number; churn: number } {
  const all = pods(5_000);
  const more = [...all, ...pods(50, 5_000)];
  const connections = new Map<string, number>(all.map(({ id }) => [id, 0]));
  let changed = 0;
  for (let client = 0; client < 1_000; client++) {
    const mine = choose(all, size, `client ${client}`);
    for (const { id } of mine) connections.set(id, (connections.get(id) as number) + 1);
    const known = new Set(mine);
    changed += choose(more, size, `client ${client}`).filter((one) => !known.has(one)).length;
  }
  const mean = (1_000 * size) / all.length;
  const counts = [...connections.values()];
  return {
    most: Math.max(...counts) / mean,
    least: Math.min(...counts) / mean,
    churn: changed / (1_000 * size),
  };
}

test('coverage is as even as choices that know nothing of one another can be: binomial', () => {
  const all = pods(5_000);
  for (const size of [20, 100]) {
    const connections = new Map<string, number>(all.map(({ id }) => [id, 0]));
    for (let client = 0; client < 1_000; client++)
      for (const { id } of choose(all, size, `client ${client}`))
        connections.set(id, (connections.get(id) as number) + 1);
    const share = size / all.length;
    const counts = [...connections.values()];
    const variance = counts.reduce((sum, count) => sum + (count - 1_000 * share) ** 2, 0) / all.length;
    // The variance of 5,000 counts is known to some 2 %.
    expect(variance / (1_000 * share * (1 - share))).toBeLessThan(1.08);
    const none = counts.filter((count) => count === 0).length;
    const expected = all.length * (1 - share) ** 1_000;
    expect(Math.abs(none - expected)).toBeLessThanOrEqual(4 * Math.sqrt(expected));
  }
}, 60_000);

test('1,000 clients of 5,000 pods: pods are covered evenly but for chance, and a change moves its share only', () => {
  // A Poisson variable of mean 20 stays within 4.5 standard deviations of it.
  const { most, least, churn } = fleet(100);
  expect(most).toBeLessThan(2);
  expect(least).toBeGreaterThan(0.2);
  expect(churn).toBeLessThan((50 / 5_050) * 1.1);
}, 60_000);

test('calls through subsets reach all pods, none with twice the mean', () => {
  const { policies } = simulate({
    clients: 200,
    pods: 500,
    utilisation: 0.6,
    requests: 100_000,
    view: (client, endpoints) => choose(endpoints, 50, `client ${client}`),
    policies: { adaptive: ({ clock, random }) => adaptive({ clock, random }) },
    references: false,
  });
  expect(policies['adaptive']?.maxOverMean).toBeLessThan(2);
  expect(Math.min(...(policies['adaptive']?.pods.map(({ share }) => share) ?? []))).toBeGreaterThan(0.2);
});

test('bad options are told at once', () => {
  expect(() => subset(new FakeResolver(), {} as never)).toThrow('subset: option size is missing');
  expect(() => subset(new FakeResolver(), { size: 0 })).toThrow('option size must be between 1 and');
  expect(() => subset({} as never, { size: 1 })).toThrow('has no method watch()');
});
