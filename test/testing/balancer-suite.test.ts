import nodeTest from 'node:test';
import { expect, test, vi } from 'vitest';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import type { Backend } from '../../src/core/backend.ts';
import { balancerSuite } from '../../src/testing/balancer-suite.ts';
import { distributionSuite } from '../../src/testing/distribution-suite.ts';
import { type SuiteRunner, suiteRunner } from '../../src/testing/runner.ts';
import type { Policy } from '../../src/testing/simulate.ts';
import { backend } from '../../src/testing/values.ts';

type Suite = (make: Policy, runner: SuiteRunner) => void;

const contract: Suite = (make, runner) => balancerSuite(make, runner);
const spread: Suite = (make, runner) => distributionSuite(make, {}, runner);
const hashing: Suite = (make, runner) => distributionSuite(make, { hashing: true }, runner);

/** The names of the tests that a balancer fails. */
async function failures(suite: Suite, make: Policy): Promise<string[]> {
  const tests: [string, () => void | Promise<void>][] = [];
  suite(make, { describe: (_, body) => body(), it: (name, body) => void tests.push([name, body]) });
  const failed: string[] = [];
  for (const [name, body] of tests) {
    try {
      await body();
    } catch {
      failed.push(name);
    }
  }
  return failed;
}

test('a good balancer fails nothing', async () => {
  const make: Policy = ({ random }) => roundRobin({ random });
  expect(await failures(contract, make)).toEqual([]);
  expect(await failures(spread, make)).toEqual([]);
});

test.each<[string, Policy, string]>([
  [
    'picks outside the set',
    () => ({ pick: () => backend() }),
    'picks from the set it is given, whatever its size',
  ],
  [
    'remembers a set that is gone',
    () => {
      let first: Backend | undefined;
      return { pick: (backends) => (first ??= backends[0]) };
    },
    'picks from sets that change at each pick',
  ],
  [
    'cannot be told that a use has ended',
    () => ({
      pick: (backends, { tried }) => backends.find((one) => !tried?.has(one)) ?? backends[0],
      begin: () => undefined as never,
    }),
    'takes every outcome, also of a backend that has left the set',
  ],
  [
    'ignores what was tried',
    () => ({ pick: (backends) => backends[0] }),
    'prefers the one backend that has not been tried',
  ],
  [
    'throws when all were tried',
    () => ({
      pick: (backends, { tried }) => {
        const left = backends.find((one) => !tried?.has(one));
        if (left === undefined) throw new Error('none left');
        return left;
      },
    }),
    'picks some backend when all have been tried',
  ],
  [
    'needs a hash key',
    () => ({
      pick: (backends, { hashKey }) => backends[(hashKey as string).length % backends.length] ?? backends[0],
    }),
    'takes any hash key: none, an empty one, one of a megabyte',
  ],
  [
    'changes the array',
    () => ({ pick: (backends) => (backends as unknown as Backend[]).sort()[0] as Backend }),
    'picks from the set it is given, whatever its size',
  ],
  [
    'draws chance of its own',
    ({ random }) => {
      void random;
      return { pick: (backends) => backends[Math.floor(Math.random() * backends.length)] ?? backends[0] };
    },
    'picks the same for the same random numbers',
  ],
  [
    'leaves a timer',
    ({ clock }) => ({
      pick: (backends) => backends[0],
      begin: () => {
        const again = (): void => void clock.schedule(100, again);
        again();
        return () => {};
      },
    }),
    'leaves no timer once nothing is in flight',
  ],
])('the contract suite finds one that %s', async (_, make, name) => {
  expect(await failures(contract, make)).toContain(name);
});

test('the distribution suite finds unevenness, starvation, a healed pod that is shunned, and keys that move', async () => {
  const first: Policy = () => ({ pick: (backends) => backends[0] });
  expect(await failures(spread, first)).toContain(
    '10 clients, 10 pods: none gets twice its share, none is starved',
  );
  const grudge: Policy = ({ random }) => {
    const bad = new Set<Backend>();
    return {
      pick: (backends) => {
        const good = backends.filter((one) => !bad.has(one));
        return good[Math.floor(random() * good.length)] ?? backends[0];
      },
      begin: (one) => (outcome) => void (outcome.kind === 'error' && bad.add(one)),
    };
  };
  expect(await failures(spread, grudge)).toContain('a pod that failed and is well again gets calls again');
  const modulo: Policy = () => ({
    pick: (backends, { hashKey = '' }) =>
      backends[(hashKey.length * 7 + hashKey.charCodeAt(hashKey.length - 1)) % backends.length] ??
      backends[0],
  });
  expect(await failures(hashing, modulo)).toContain(
    'keys stay where they are, but for those of a backend that comes or goes',
  );
});

test('without global describe and it, the suite is for node:test, and in vitest says to pass them', () => {
  expect(() => suiteRunner()).toThrow('pass them as the last argument');
  vi.stubEnv('VITEST', undefined);
  expect(suiteRunner()).toBe(nodeTest);
  vi.unstubAllEnvs();
});
