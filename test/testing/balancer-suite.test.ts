import nodeTest from 'node:test';
import { describe, expect, it, test, vi } from 'vitest';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import type { Backend, Backends } from '../../src/core/backend.ts';
import { balancerSuite } from '../../src/testing/balancer-suite.ts';
import { distributionSuite } from '../../src/testing/distribution-suite.ts';
import { type SuiteRunner, suiteRunner } from '../../src/testing/runner.ts';
import type { Policy } from '../../src/testing/simulate.ts';
import { backend, type FakeBackend } from '../../src/testing/values.ts';

const untried = (backends: Backends, tried: ReadonlySet<Backend> | undefined): Backend =>
  backends.find((one) => !tried?.has(one)) ?? backends[0];

type Suite = (make: Policy, runner: SuiteRunner) => void;

const contract: Suite = (make, runner) => balancerSuite(make, runner);
const spread: Suite = (make, runner) => distributionSuite(make, {}, runner);
const hashing: Suite = (make, runner) => distributionSuite(make, { hashing: true }, runner);

/** The tests that a balancer fails, each with its message. */
async function failures(suite: Suite, make: Policy): Promise<string[]> {
  const tests: [string, () => void | Promise<void>][] = [];
  suite(make, { describe: (_, body) => body(), it: (name, body) => void tests.push([name, body]) });
  const failed: string[] = [];
  for (const [name, body] of tests) {
    try {
      await body();
    } catch (error) {
      failed.push(`${name}: ${(error as Error).message}`);
    }
  }
  return failed;
}

test('a good balancer fails nothing', async () => {
  const make: Policy = ({ random }) => roundRobin({ random });
  expect(await failures(contract, make)).toEqual([]);
  expect(await failures(spread, make)).toEqual([]);
});

test.each<[string, Policy, string, string]>([
  [
    'picks outside the set',
    () => ({ pick: () => backend() }),
    'picks from the set it is given, whatever its size',
    'picked a backend that is not in the set',
  ],
  [
    'remembers a set that is gone',
    () => {
      let first: Backend | undefined;
      return { pick: (backends) => (first ??= backends[0]) };
    },
    'picks from sets that change at each pick',
    'picked a backend that is not in the set',
  ],
  [
    'cannot be told that a use has ended',
    () => ({
      pick: (backends, { tried }) => backends.find((one) => !tried?.has(one)) ?? backends[0],
      begin: () => undefined as never,
    }),
    'takes every outcome, also of a backend that has left the set',
    'begin() returned no release',
  ],
  [
    'ignores what was tried',
    () => ({ pick: (backends) => backends[0] }),
    'prefers the one backend that has not been tried',
    'picked a backend that has been tried where one has not',
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
    'none left',
  ],
  [
    'needs a hash key',
    () => ({
      pick: (backends, { hashKey }) => backends[(hashKey as string).length % backends.length] ?? backends[0],
    }),
    'takes any hash key: none, an empty one, one of a megabyte',
    'Cannot read properties of undefined',
  ],
  [
    'changes the array',
    () => ({ pick: (backends) => (backends as unknown as Backend[]).sort()[0] as Backend }),
    'picks from the set it is given, whatever its size',
    'Cannot assign to read only property',
  ],
  [
    'draws chance of its own',
    ({ random }) => {
      void random;
      return { pick: (backends) => backends[Math.floor(Math.random() * backends.length)] ?? backends[0] };
    },
    'picks the same for the same random numbers',
    'equal random numbers gave other picks',
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
    'a timer is left',
  ],
  [
    'is not synchronous',
    () => ({ pick: (async (backends: Backends) => backends[0]) as never }),
    'picks from the set it is given, whatever its size',
    'pick() returned a promise: it must be synchronous',
  ],
  [
    'notes in the request what it picked',
    () => ({
      pick: (backends, { tried }) => {
        const picked = untried(backends, tried);
        (tried as Set<Backend> | undefined)?.add(picked);
        return picked;
      },
    }),
    'prefers the one backend that has not been tried',
    'pick() changed what was tried',
  ],
  [
    'gives a request another key',
    () => ({
      pick: (backends, request) => {
        (request as { hashKey?: string }).hashKey = 'mine';
        return untried(backends, request.tried);
      },
    }),
    'picks from the set it is given, whatever its size',
    'Cannot assign to read only property',
  ],
  [
    'writes to a backend',
    () => ({
      pick: (backends, { tried }) => {
        const picked = untried(backends, tried);
        (picked as FakeBackend).inflight = 0;
        return picked;
      },
    }),
    'takes uses that overlap and end in any order',
    'a backend was written to',
  ],
  [
    'knows only the backends it has picked',
    () => {
      const known = new Set<Backend>();
      return {
        pick: (backends, { tried }) => {
          const picked = untried(backends, tried);
          known.add(picked);
          return picked;
        },
        begin: (one) => {
          if (!known.has(one)) throw new Error('never seen');
          return () => {};
        },
      };
    },
    'takes every outcome, also of a backend that has left the set',
    'never seen',
  ],
  [
    'takes every outcome for an answer',
    () => ({
      pick: (backends, { tried }) => backends.find((one) => !tried?.has(one)) ?? backends[0],
      begin: () => (outcome) => {
        if (outcome.kind === 'cancelled') throw new Error('no latency');
      },
    }),
    'takes every outcome, also of a backend that has left the set',
    'no latency',
  ],
  [
    'divides by the sum of the weights',
    () => ({
      pick: (backends, { tried }) => {
        let sum = backends.reduce((all, { endpoint: { weight = 1 } }) => all + weight, 0) / 2;
        const found = backends.find((one) => !tried?.has(one) && (sum -= one.endpoint.weight ?? 1) <= 0);
        return (found ?? backends.find((one) => !tried?.has(one))) as Backend;
      },
    }),
    'picks some backend when all have been tried',
    'picked a backend that is not in the set',
  ],
])('the contract suite finds one that %s, and says so', async (_, make, name, message) => {
  const found = (await failures(contract, make)).find((failure) => failure.startsWith(`${name}: `));
  expect(found).toContain(`: ${message}`);
});

test('what makes no balancers is told at once', () => {
  for (const make of [undefined, 3, roundRobin()]) {
    expect(() => contract(make as never, { describe, it })).toThrow(
      'option make of balancerSuite must be a function',
    );
    expect(() => spread(make as never, { describe, it })).toThrow(
      'option make of distributionSuite must be a function',
    );
  }
  expect(() => distributionSuite(() => roundRobin(), { hash: true } as never, { describe, it })).toThrow(
    'distributionSuite: unknown option hash: known are hashing',
  );
});

test('the distribution suite finds unevenness, starvation, a healed pod that is shunned, and keys that move', async () => {
  const first: Policy = () => ({ pick: (backends) => backends[0] });
  expect(await failures(spread, first)).toContain(
    '10 clients, 10 pods: none gets twice its share, none is starved: a pod got 10.00 times its even share',
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
  expect(await failures(spread, grudge)).toContain(
    'a pod that failed and is well again gets calls again: it got 0.00 of its even share',
  );
  const modulo: Policy = () => ({
    pick: (backends, { hashKey = '' }) =>
      backends[(hashKey.length * 7 + hashKey.charCodeAt(hashKey.length - 1)) % backends.length] ??
      backends[0],
  });
  expect((await failures(hashing, modulo)).join()).toMatch(
    /keys stay where they are, but for those of a backend that comes or goes: 0\.\d+ of the keys moved among 3/,
  );
});

test('the suites use the global describe and it, else node:test, and in vitest say to pass them', () => {
  expect(() => suiteRunner()).toThrow('pass them as the last argument');
  vi.stubEnv('VITEST', undefined);
  expect(suiteRunner()).toBe(nodeTest);
  vi.stubGlobal('describe', describe);
  vi.stubGlobal('it', it);
  expect(suiteRunner()).toEqual({ describe, it });
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});
