import assert from 'node:assert/strict';
import type { Backends } from '../core/backend.ts';
import type { Balancer } from '../core/balancer.ts';
import { boolean, checkOptions, func } from '../core/options.ts';
import { FakeClock } from './fake-clock.ts';
import { type SuiteRunner, suiteRunner } from './runner.ts';
import { seeded } from './seeded.ts';
import type { Policy } from './simulate/client.ts';
import type { Scenario } from './simulate/scenario.ts';
import { type PolicyResult, simulate } from './simulate.ts';
import { backend, endpoint, type FakeBackend } from './values.ts';

export interface DistributionOptions {
  /** Whether equal keys must go to the same backend; then the movement of keys is checked too. @default false */
  readonly hashing?: boolean;
}

/** No pod may get more than this many times its even share: what Finagle's balancers are tested for. */
const mostShare = 2;
/** Every pod gets at least this much of its even share. */
const leastShare = 0.2;
/** A pod that is well again gets at least this much of its even share, within a few seconds. */
const healedShare = 0.45;
const keys = 20_000;

/**
 * Checks how a balancer spreads calls over pods, by simulation: evenly, also through a rolling restart; without
 * starving any pod; and with a pod that fails and is well again. Run it beside `balancerSuite`. It asks of a balancer that
 * nothing but its own knowledge is used: no circuits, no retries.
 */
export function distributionSuite(
  make: Policy,
  options: DistributionOptions = {},
  runner: SuiteRunner = suiteRunner(),
): void {
  func(make, 'make of distributionSuite');
  checkOptions('distributionSuite', { hashing: boolean }, options);
  const { describe, it } = runner;
  const { hashing = false } = options;
  const run = (scenario: Scenario): PolicyResult => {
    const { policies } = simulate({
      requests: 30_000,
      ...(hashing && { keys }),
      ...scenario,
      policies: { it: make },
      references: false,
    });
    return policies['it'] as PolicyResult;
  };

  describe('the spread over pods', () => {
    for (const [clients, pods, utilisation] of [
      [1, 10, 0.3],
      [10, 10, 0.7],
      [10, 30, 0.5],
    ] as const) {
      it(`${clients} clients, ${pods} pods: none gets twice its share, none is starved`, () => {
        const { pods: results, maxOverMean } = run({ clients, pods, utilisation });
        assert.ok(maxOverMean < mostShare, `a pod got ${maxOverMean.toFixed(2)} times its even share`);
        const least = Math.min(...results.map(({ share }) => share));
        assert.ok(least > leastShare, `a pod got ${least.toFixed(2)} of its even share`);
      });
    }

    it('through a rolling restart none gets twice its share, and no call is lost', () => {
      const { maxOverMean, failed } = run({
        requests: 60_000,
        discoveryDelay: 500,
        happenings: [{ kind: 'rollingRestart', at: 10_000, every: 6_000 }],
      });
      assert.ok(maxOverMean < mostShare, `a pod got ${maxOverMean.toFixed(2)} times its even share`);
      assert.equal(failed, 0);
    });

    it('a pod that failed and is well again gets calls again', () => {
      // 700 calls a second; the window begins 5 s after the pod is well.
      const { pods } = run({
        requests: 60_000,
        happenings: [{ kind: 'failFast', at: 15_000, pods: [0], duration: 30_000 }],
      });
      const of = (pod: (typeof pods)[number] | undefined): number =>
        (pod?.timeline ?? []).slice(50, 80).reduce((sum, calls) => sum + calls, 0);
      const all = pods.reduce((sum, pod) => sum + of(pod), 0);
      const share = (of(pods[0]) / all) * pods.length;
      assert.ok(share >= healedShare, `it got ${share.toFixed(2)} of its even share`);
    });

    if (hashing) {
      it('keys stay where they are, but for those of a backend that comes or goes', () => {
        for (const size of [3, 10, 100]) {
          const all = some(Array.from({ length: size + 1 }, (_, i) => at(i)));
          const fewer = some(all.slice(0, size));
          const before = owners(make, fewer);
          const after = owners(make, all);
          const moved = before.filter((owner, i) => owner !== after[i]).length / keys;
          assert.ok(moved <= 1.1 / (size + 1) + 0.01, `${moved} of the keys moved among ${size}`);
          const strayed = before.filter((owner, i) => owner !== after[i] && after[i] !== all[size]);
          assert.equal(strayed.length, 0, 'keys moved between backends that stayed');
        }
      });

      it('keys go to the same backend for every client, in whatever order the set comes', () => {
        const set = some(Array.from({ length: 50 }, (_, i) => at(i)));
        const turned = some([...set].reverse());
        const one = owners(make, set, 1);
        const other = owners(make, turned, 2);
        // Not deepEqual, whose report on many keys takes minutes.
        const differ = one.filter((owner, i) => owner !== other[i]).length;
        assert.equal(differ, 0, `${differ} of ${keys} keys go elsewhere`);
      });
    }
  });
}

function owners(make: Policy, backends: Backends, seed = 1): FakeBackend[] {
  const balancer: Balancer = make({ clock: new FakeClock(), random: seeded(seed) });
  return Array.from(
    { length: keys },
    (_, i) => balancer.pick(backends, { hashKey: `key ${i}` }) as FakeBackend,
  );
}

function at(index: number): FakeBackend {
  return backend(endpoint(`10.0.${index >> 8}.${index & 255}:80`));
}

function some(backends: readonly FakeBackend[]): readonly [FakeBackend, ...FakeBackend[]] {
  const [first, ...rest] = backends;
  assert.ok(first !== undefined);
  return [first, ...rest];
}
