import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DiscoveryWarning, ResolveError } from '../../src/core/errors.ts';
import type { Resolver } from '../../src/core/resolver.ts';
import { fallback, preferring } from '../../src/resolvers/fallback.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { type Watching, watching } from './support/watching.ts';

const a = ['10.0.0.1:80'];
const b = ['10.0.0.2:80'];

interface Chain extends Watching {
  readonly clock: FakeClock;
}

function chain(resolvers: readonly [Resolver, ...Resolver[]], emptyIsAnswer = false): Chain {
  const clock = new FakeClock();
  return { ...watching(preferring(resolvers, { clock, emptyIsAnswer })), clock };
}

describe('fallback', () => {
  it('uses the first, and does not open the second, while the first has endpoints', async () => {
    const [first, second] = [new FakeResolver(a), new FakeResolver(b)];
    const { clock, sets, watch, infos, errors } = chain([first, second]);
    await clock.advance(10_000);
    first.set(b);
    first.fail('a moment');
    expect(sets).toEqual([a, b]);
    expect(infos[0]?.source).toBe('fake');
    expect(errors.map(({ message }) => message)).toEqual(['a moment']);
    expect(second.targets).toEqual([]);
    await watch.close();
    expect([first.watches, clock.pending]).toEqual([0, 0]);
  });

  it('uses the second while the first has failed, and the first again as soon as it delivers', async () => {
    const [first, second] = [new FakeResolver(), new FakeResolver(b)];
    const { clock, sets, errors, warnings, watch } = chain([first, second]);
    await clock.advance(0);
    first.fail('forbidden');
    await clock.advance(0);
    expect(sets).toEqual([b]);
    first.fail('still forbidden');
    expect(errors).toEqual([]);
    expect(warnings.map(({ message }) => message)).toEqual(['orders.shop:8080: still forbidden']);
    first.set(a);
    expect(sets).toEqual([b, a]);
    expect(second.watches).toBe(0);
    expect(clock.pending).toBe(0);
    await watch.close();
    expect(first.watches).toBe(0);
  });

  it('asks the second as well when the first is silent for a second', async () => {
    const [first, second] = [new FakeResolver(), new FakeResolver(b)];
    const { clock, sets, watch } = chain([first, second]);
    await clock.advance(999);
    expect(second.watches).toBe(0);
    await clock.advance(1);
    expect(sets).toEqual([b]);
    first.set(a);
    expect(sets).toEqual([b, a]);
    await watch.close();
  });

  it('keeps the first set until the second has one when the first becomes empty', async () => {
    const [first, second] = [new FakeResolver(a), new FakeResolver()];
    const { clock, sets, watch } = chain([first, second]);
    await clock.advance(0);
    first.set([]);
    expect(sets).toEqual([a]);
    await clock.advance(500);
    second.set(b);
    expect(sets).toEqual([a, b]);
    first.set(a);
    expect(sets).toEqual([a, b, a]);
    await watch.close();
  });

  it('reports an empty set where nobody has endpoints and somebody says so', async () => {
    const [first, second] = [new FakeResolver([]), new FakeResolver()];
    const { clock, sets, watch } = chain([first, second]);
    await clock.advance(999);
    expect(sets).toEqual([]);
    await clock.advance(1);
    expect(sets).toEqual([[]]);
    second.fail('down');
    second.set([]);
    expect(sets.flat()).toEqual([]);
    second.set(b);
    expect(sets.at(-1)).toEqual(b);
    await watch.close();
  });

  it.each(['fails', 'is silent'])(
    'drops the first set when that becomes empty and the second %s',
    async (how) => {
      const [first, second] = [new FakeResolver(a), new FakeResolver()];
      const { clock, sets, watch } = chain([first, second]);
      await clock.advance(0);
      first.set([]);
      await clock.advance(0);
      expect(sets).toEqual([a]);
      if (how === 'fails') second.fail();
      else await clock.advance(1_000);
      expect(sets).toEqual([a, []]);
      second.set(b);
      second.set([]);
      expect(sets).toEqual([a, [], b, []]);
      await watch.close();
    },
  );

  it('goes through as many as there are', async () => {
    const all = [new FakeResolver(), new FakeResolver([]), new FakeResolver(b)] as const;
    const { clock, sets, watch } = chain(all);
    await clock.advance(0);
    all[0].fail();
    await clock.advance(0);
    expect(sets).toEqual([b]);
    await watch.close();
    expect(all.map(({ watches }) => watches)).toEqual([0, 0, 0]);
  });

  it('tells every error when all have failed, with the last one’s cause', async () => {
    const cause = Object.assign(new Error('queryA ENOTFOUND'), { code: 'ENOTFOUND' });
    const [first, second] = [new FakeResolver(), new FakeResolver()];
    const { clock, errors, watch } = chain([first, second]);
    await clock.advance(0);
    first.fail('forbidden');
    await clock.advance(0);
    expect(errors).toEqual([]);
    second.fail(new ResolveError('no such name', 'orders.shop', { cause }));
    expect(errors).toHaveLength(1);
    expect(errors[0]).toBeInstanceOf(ResolveError);
    expect(errors[0]?.message).toBe(
      'cannot resolve orders.shop:8080 in any of 2 ways: forbidden; no such name',
    );
    expect(errors[0]?.cause).toBe(cause);
    second.set(b);
    await watch.close();
  });

  it('says by the last one’s error whether waiting may help', async () => {
    const [first, second] = [new FakeResolver(), new FakeResolver()];
    const { clock, errors, watch } = chain([first, second]);
    await clock.advance(0);
    first.fail(new ResolveError('no variable', 'orders.shop'));
    await clock.advance(0);
    second.fail('SERVFAIL');
    expect(errors).toHaveLength(1);
    expect(errors[0]).not.toBeInstanceOf(ResolveError);
    expect(errors[0]?.cause).toEqual(new Error('SERVFAIL'));
    await watch.close();
  });

  it('passes the error of the only one through as it is', async () => {
    const only = new FakeResolver();
    const { clock, errors, watch } = chain([only]);
    await clock.advance(0);
    const error = new Error('mine');
    only.fail(error);
    expect(errors).toEqual([error]);
    await watch.close();
  });

  it('passes warnings on, whoever gives them, and goes on waiting', async () => {
    const [first, second] = [new FakeResolver(), new FakeResolver(b)];
    const { clock, sets, warnings, watch } = chain([first, second]);
    await clock.advance(0);
    first.fail(new DiscoveryWarning('odd'));
    await clock.advance(999);
    expect(warnings).toHaveLength(1);
    expect(sets).toEqual([]);
    await clock.advance(1);
    expect(sets).toEqual([b]);
    await watch.close();
  });

  it('takes an empty set for an answer where it is told to', async () => {
    const [first, second] = [new FakeResolver([]), new FakeResolver(b)];
    const { clock, sets, watch } = chain([first, second], true);
    await clock.advance(5_000);
    expect(sets).toEqual([[]]);
    expect(second.targets).toEqual([]);
    await watch.close();
  });

  it('goes on to the next when a resolver refuses the target, and refuses it when all do', async () => {
    const refusing: Resolver = {
      watch() {
        throw new TypeError('not with me');
      },
    };
    const { clock, sets, watch } = chain([refusing, new FakeResolver(b)]);
    await clock.advance(0);
    expect(sets).toEqual([b]);
    await watch.close();
    expect(() => chain([refusing, refusing])).toThrow(new TypeError('not with me'));
  });

  it('passes refreshes on to those that are watched', async () => {
    const [first, second] = [new FakeResolver(), new FakeResolver(b)];
    const { clock, watch } = chain([first, second]);
    await clock.advance(0);
    watch.refresh();
    expect([first.refreshes, second.refreshes]).toEqual([1, 0]);
    await watch.close();
  });

  it('opens nothing any more when it is closed by who hears of an error', async () => {
    const all = [new FakeResolver(), new FakeResolver(b), new FakeResolver(a)] as const;
    const clock = new FakeClock();
    const watch = preferring(all, { clock }).watch(
      { protocol: 'http:', host: 'orders.shop', port: 80 },
      { onEndpoints() {}, onError: () => void watch.close() },
    );
    await clock.advance(1_000);
    expect(all.map(({ watches }) => watches)).toEqual([1, 1, 0]);
    all[0].fail();
    await clock.advance(0);
    expect([...all.map(({ watches }) => watches), clock.pending]).toEqual([0, 0, 0, 0]);
  });

  it('waits in close for those it has left', async () => {
    let closed: () => void = () => {};
    const slow: Resolver = {
      watch(_, listener) {
        queueMicrotask(() => listener.onEndpoints([{ id: 'b', address: '10.0.0.2', port: 80 }]));
        return { refresh() {}, close: () => new Promise((resolve) => (closed = resolve)) };
      },
    };
    const first = new FakeResolver();
    const { clock, sets, watch } = chain([first, slow]);
    await clock.advance(1_000);
    expect(sets).toEqual([['b']]);
    first.set(a);
    let done = false;
    const closing = watch.close().then(() => (done = true));
    await clock.advance(0);
    expect(done).toBe(false);
    closed();
    await closing;
  });

  it('does not listen to a resolver it has left, whatever that says', async () => {
    let report: () => void = () => {};
    const talkative: Resolver = {
      watch(_, listener) {
        report = () => {
          listener.onEndpoints([{ id: 'late', address: '10.0.0.2', port: 80 }]);
          listener.onError(new Error('late'));
        };
        return { refresh() {}, close: async () => {} };
      },
    };
    const first = new FakeResolver();
    const { clock, sets, errors, warnings, watch } = chain([first, talkative]);
    await clock.advance(1_000);
    first.set(a);
    report();
    expect(sets).toEqual([a]);
    await watch.close();
    report();
    expect([sets.length, errors.length, warnings.length]).toEqual([1, 0, 0]);
  });

  it('refuses what is no resolver', () => {
    expect(() => (fallback as () => unknown)()).toThrow(/at least one resolver is needed/);
    expect(() => fallback({} as Resolver)).toThrow(/resolvers\[0\] of fallback must be a Resolver/);
  });

  it('comes to the first set that will do, whatever has happened before, and watches nobody after it', async () => {
    const move = fc.oneof(
      fc.record({ who: fc.nat(2), size: fc.nat(2) }),
      fc.record({ who: fc.nat(2), size: fc.constant('fails' as const) }),
      fc.record({ ms: fc.constantFrom(500, 1_000) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(move, { maxLength: 20 }), fc.boolean(), async (moves, emptyIsAnswer) => {
        const all = [new FakeResolver(), new FakeResolver(), new FakeResolver()] as const;
        const known: (readonly string[] | undefined)[] = [undefined, undefined, undefined];
        const { clock, sets, watch } = chain(all, emptyIsAnswer);
        await clock.advance(0);
        for (const one of moves) {
          if ('ms' in one) await clock.advance(one.ms);
          else if (one.size === 'fails') all[one.who]?.fail();
          else {
            known[one.who] = Array.from({ length: one.size }, (_, i) => `10.${one.who}.0.${i}:80`);
            all[one.who]?.set(known[one.who] ?? []);
          }
          await clock.advance(0);
        }
        // Each may be silent for a second in turn.
        for (let i = 0; i < all.length; i++) await clock.advance(1_000);
        const serving = known.findIndex((set) => set !== undefined && (emptyIsAnswer || set.length > 0));
        const empty = known.find((set) => set !== undefined);
        expect(sets.at(-1)).toEqual(serving === -1 ? empty : known[serving]);
        const watched = serving === -1 ? all.length : serving + 1;
        expect(all.map(({ watches }) => watches)).toEqual(all.map((_, i) => (i < watched ? 1 : 0)));
        await watch.close();
        expect([...all.map(({ watches }) => watches), clock.pending]).toEqual([0, 0, 0, 0]);
      }),
      { numRuns: 500 },
    );
  });
});
