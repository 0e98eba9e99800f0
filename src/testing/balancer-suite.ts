import assert from 'node:assert/strict';
import { type Backend, BackendStats, type Backends } from '../core/backend.ts';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import type { Clock, Random } from '../core/clock.ts';
import { func } from '../core/options.ts';
import type { Outcome } from '../core/outcome.ts';
import { FakeClock } from './fake-clock.ts';
import { type SuiteRunner, suiteRunner } from './runner.ts';
import { seeded } from './seeded.ts';
import { backend, endpoint, type FakeBackend } from './values.ts';

/** What a balancer under test, or in a simulation, takes its time and its randomness from. */
export interface BalancerContext {
  readonly clock: Clock;
  readonly random: Random;
}

const outcomes: readonly Outcome[] = [
  { kind: 'response', status: 200, latency: 5 },
  { kind: 'response', status: 429, latency: 1 },
  { kind: 'response', status: 503, latency: 0 },
  { kind: 'error', error: new Error('refused'), sent: false, latency: 0 },
  { kind: 'error', error: new Error('reset'), sent: true, latency: 50 },
  { kind: 'cancelled' },
];

/**
 * Checks the contract of `Balancer` with the test runner at hand: `balancerSuite(() => yourBalancer())` in a test
 * file. Where `make` takes its argument, the balancer must draw all chance and time from it: equal seeds then have
 * to give equal picks, and no timer may be left once nothing is in flight.
 */
export function balancerSuite(
  make: (context: BalancerContext) => Balancer,
  runner: SuiteRunner = suiteRunner(),
): void {
  func(make, 'make of balancerSuite');
  const { describe, it } = runner;
  const fresh = (seed = 1): Balancer => make({ clock: new FakeClock(), random: seeded(seed) });

  describe('the balancer contract', () => {
    it('picks from the set it is given, whatever its size', () => {
      for (const size of [1, 2, 3, 10, 1_000]) {
        const balancer = fresh();
        const backends = fleet(size);
        for (let i = 0; i < 50; i++) ask(balancer, backends, { hashKey: `key ${i}` });
      }
    });

    it('picks from sets that change at each pick', () => {
      const balancer = fresh();
      const all = fleet(20);
      const random = seeded(2);
      for (let i = 0; i < 500; i++) {
        const backends = all.filter(() => random() < 0.3);
        if (backends.length === 0) continue;
        const picked = ask(balancer, some(backends), { hashKey: `key ${i}` });
        use(balancer, picked, outcomes[i % outcomes.length] as Outcome);
      }
    });

    it('serves sets that take turns, also when they overlap', () => {
      const balancer = fresh();
      const all = fleet(12);
      const sets = [all, some(all.slice(0, 6)), some(all.slice(4))];
      const busy: (() => void)[] = [];
      for (let i = 0; i < 600; i++) {
        const backends = sets[i % sets.length] as Backends;
        const picked = ask(balancer, backends, { hashKey: `key ${i}` });
        busy.push(begin(balancer, picked, outcomes[0] as Outcome));
        if (busy.length > 5) busy.shift()?.();
      }
      for (const end of busy) end();
    });

    it('prefers the one backend that has not been tried', () => {
      for (const size of [2, 3, 10, 40]) {
        const balancer = fresh();
        const backends = fleet(size);
        for (const left of backends) {
          const tried = new Set<Backend>(backends.filter((other) => other !== left));
          for (const request of [{ hashKey: 'key', tried }, { tried }])
            assert.ok(
              ask(balancer, backends, request) === left,
              'picked a backend that has been tried where one has not',
            );
        }
      }
    });

    it('picks some backend when all have been tried', () => {
      for (const size of [1, 2, 10, 40]) {
        const balancer = fresh();
        const backends = fleet(size);
        const tried = new Set<Backend>(backends);
        for (let i = 0; i < 20; i++) ask(balancer, backends, { hashKey: `key ${i}`, tried });
      }
    });

    it('takes any weight, also none, negative ones and what is no number', () => {
      const weights = [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e300, 1e-300, 5, undefined];
      const sets = [weights, [0, 0, 0], [Number.NaN], [0], [0, 1], [1e308, 1e308]];
      for (const set of sets) {
        const balancer = fresh();
        const backends = some(set.map((weight, i) => at(i, weight)));
        for (let i = 0; i < 200; i++) {
          const picked = ask(balancer, backends, { hashKey: `key ${i}` });
          use(balancer, picked, outcomes[0] as Outcome);
        }
      }
    });

    it('takes any hash key: none, an empty one, one of a megabyte', () => {
      const balancer = fresh();
      const backends = fleet(5);
      for (const hashKey of ['', 'x'.repeat(2 ** 20), '\u{1f6a2}\0\ud800']) {
        for (let i = 0; i < 5; i++) ask(balancer, backends, { hashKey });
      }
      for (let i = 0; i < 5; i++) ask(balancer, backends, {});
    });

    it('takes every outcome, also of a backend that has left the set', () => {
      for (const outcome of outcomes) {
        const balancer = fresh();
        const backends = fleet(4);
        const ends = backends.map((picked) => begin(balancer, picked, outcome));
        const rest = some(backends.slice(1));
        ask(balancer, rest, {});
        for (const end of ends) end();
        for (let i = 0; i < 20; i++) ask(balancer, rest, {});
      }
    });

    it('takes uses that overlap and end in any order', () => {
      const balancer = fresh();
      const backends = fleet(7);
      const random = seeded(3);
      const busy: (() => void)[] = [];
      for (let i = 0; i < 2_000; i++) {
        if (busy.length > 0 && random() < busy.length / 40) {
          const [end] = busy.splice(Math.floor(random() * busy.length), 1);
          end?.();
        } else {
          const picked = ask(balancer, backends, { hashKey: `key ${i}` });
          busy.push(begin(balancer, picked, outcomes[i % outcomes.length] as Outcome));
        }
      }
      for (const end of busy) end();
      assert.ok(
        backends.every(({ inflight }) => inflight === 0),
        'a backend was written to',
      );
    });

    it('works for one who never tells it of uses', () => {
      const balancer = fresh();
      const backends = fleet(9);
      for (let i = 0; i < 300; i++) {
        const picked = ask(balancer, backends, { hashKey: `key ${i}` });
        picked.inflight = i % 5;
        picked.latency = i % 7;
      }
    });

    it('comes to a pick again when a set is one backend that only ever fails', async () => {
      const clock = new FakeClock();
      const balancer = make({ clock, random: seeded(1) });
      const stats = new BackendStats(endpoint('10.0.0.1:80'), clock);
      const backends = some([stats]);
      for (let i = 0; i < 50; i++) {
        ask(balancer, backends, {});
        stats.begin();
        const release = balancer.begin?.(stats);
        await clock.advance(1);
        stats.end(outcomes[3] as Outcome);
        release?.(outcomes[3] as Outcome);
      }
    });

    if (make.length > 0) {
      it('picks the same for the same random numbers', () => {
        const run = (): string[] => {
          const balancer = fresh(7);
          const backends = fleet(10);
          const picks: string[] = [];
          const busy: (() => void)[] = [];
          for (let i = 0; i < 300; i++) {
            const picked = ask(balancer, backends, { hashKey: `key ${i}` });
            picks.push(picked.endpoint.id);
            busy.push(begin(balancer, picked, outcomes[0] as Outcome));
            if (busy.length > 8) busy.shift()?.();
          }
          for (const end of busy) end();
          return picks;
        };
        assert.deepEqual(run(), run(), 'equal random numbers gave other picks');
      });

      it('leaves no timer once nothing is in flight', async () => {
        const clock = new FakeClock();
        const balancer = make({ clock, random: seeded(1) });
        const backends = fleet(5);
        const ends = backends.map((picked) => begin(balancer, picked, outcomes[4] as Outcome));
        await clock.advance(1_000);
        for (const end of ends) end();
        await clock.advance(1_000);
        assert.equal(clock.pending, 0, 'a timer is left');
      });
    }
  });
}

function at(index: number, weight?: number): FakeBackend {
  const place = endpoint(`10.0.${index >> 8}.${index & 255}:80`);
  return backend(weight === undefined ? place : { ...place, weight });
}

function fleet(size: number): readonly [FakeBackend, ...FakeBackend[]] {
  return some(Array.from({ length: size }, (_, i) => at(i)));
}

/** The same, frozen as the contract says and known not to be empty. */
function some<T extends Backend>(backends: readonly T[]): readonly [T, ...T[]] {
  const [first, ...rest] = backends;
  assert.ok(first !== undefined);
  return Object.freeze([first, ...rest] as const);
}

/** Picks by a request that cannot be changed, and sees to it that the answer is of the set. */
function ask<T extends Backend>(balancer: Balancer, backends: readonly [T, ...T[]], request: PickRequest): T {
  const tried = request.tried?.size;
  const picked: unknown = balancer.pick(backends, Object.freeze(request));
  assert.equal(request.tried?.size, tried, 'pick() changed what was tried');
  assert.ok(!(picked instanceof Promise), 'pick() returned a promise: it must be synchronous');
  assert.ok(backends.includes(picked as T), 'picked a backend that is not in the set');
  return picked as T;
}

/** Begins one use as a client does; the returned function ends it. */
function begin(balancer: Balancer, picked: Backend, outcome: Outcome): () => void {
  const counted = picked as FakeBackend;
  counted.inflight++;
  const release = balancer.begin?.(picked);
  if (balancer.begin !== undefined) assert.equal(typeof release, 'function', 'begin() returned no release');
  return () => {
    counted.inflight--;
    release?.(outcome);
  };
}

function use(balancer: Balancer, picked: Backend, outcome: Outcome): void {
  begin(balancer, picked, outcome)();
}
