import { describe, expect, it } from 'vitest';
import { type Lookup, polling } from '../../src/resolvers/polling.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { uncaught, type Watching, watching } from './support/watching.ts';

interface Polled extends Watching {
  readonly clock: FakeClock;
  readonly signals: AbortSignal[];
}

/** A polling resolver whose lookups give these, one after another, and the last for ever. */
function polled(answers: readonly (Lookup | Error | 'hang')[], random = seeded(1)): Polled {
  const clock = new FakeClock();
  const signals: AbortSignal[] = [];
  const resolver = polling(
    (_, signal) => {
      const answer = answers[Math.min(signals.length, answers.length - 1)];
      signals.push(signal);
      if (answer === 'hang') return new Promise(() => {});
      if (answer instanceof Error) throw answer;
      return answer as Lookup;
    },
    { clock, random },
  );
  return { ...watching(resolver), clock, signals };
}

describe('polling', () => {
  it('asks again when the ttl has passed, a tenth more or less', async () => {
    const { clock, signals, sets, watch } = polled([
      { endpoints: ['10.0.0.1:80'], ttl: 5_000 },
      { endpoints: [{ address: '10.0.0.2' }], ttl: 5_000 },
    ]);
    await clock.advance(0);
    expect(sets).toEqual([['10.0.0.1:80']]);
    await clock.advance(4_499);
    expect(signals).toHaveLength(1);
    await clock.advance(1_001);
    expect(sets).toEqual([['10.0.0.1:80'], ['10.0.0.2:8080']]);
    await watch.close();
    expect(clock.pending).toBe(0);
  });

  it('asks every 30 s where there is no ttl, and never in a busy loop', async () => {
    const slow = polled([{ endpoints: [] }]);
    await slow.clock.advance(0);
    expect(slow.clock.next).toBeGreaterThanOrEqual(27_000);
    expect(slow.clock.next).toBeLessThanOrEqual(33_000);
    await slow.watch.close();
    const busy = polled([{ endpoints: [], ttl: 0 }]);
    await busy.clock.advance(1_000);
    expect(busy.signals.length).toBeLessThanOrEqual(12);
    await busy.watch.close();
  });

  it('goes on when a listener throws, and loses nothing of it', async () => {
    const clock = new FakeClock();
    const resolver = polling(() => ({ endpoints: ['10.0.0.1:80'], ttl: 1_000 }), {
      clock,
      random: seeded(1),
    });
    const { thrown, restore } = uncaught();
    const watch = resolver.watch(
      { protocol: 'http:', host: 'orders', port: 80 },
      {
        onEndpoints: () => {
          throw new Error('of a set');
        },
        onError() {},
      },
    );
    await clock.advance(0);
    await new Promise((resolve) => setImmediate(resolve));
    restore();
    expect(thrown.map(String)).toEqual(['Error: of a set']);
    expect(clock.next).toBeGreaterThanOrEqual(900);
    await watch.close();
  });

  it('reports the same set once, and again after an error', async () => {
    const same = { endpoints: ['10.0.0.1:80', '10.0.0.2:80'], ttl: 1_000 };
    const { clock, sets, errors, watch } = polled([
      same,
      { ...same, endpoints: same.endpoints.toReversed() },
      new Error('down'),
      same,
    ]);
    await clock.advance(2_000);
    expect(sets).toHaveLength(1);
    await clock.advance(4_000);
    expect(errors).toHaveLength(1);
    expect(sets).toHaveLength(2);
    await watch.close();
  });

  it('keeps the set through errors, and asks ever more slowly', async () => {
    const { clock, sets, errors, watch, signals } = polled(
      [{ endpoints: ['10.0.0.1:80'], ttl: 1_000 }, new Error('down')],
      () => 0.999,
    );
    await clock.advance(1_200);
    const delays: number[] = [];
    for (let i = 0; i < 7; i++) {
      delays.push(Math.round((clock.next ?? 0) / 999));
      await clock.advance(clock.next ?? 0);
    }
    expect(delays).toEqual([1, 2, 4, 8, 16, 30, 30]);
    expect(sets).toHaveLength(1);
    expect(errors).toHaveLength(8);
    expect(signals).toHaveLength(9);
    await watch.close();
  });

  it('asks again soon where there never was a set', async () => {
    const { clock, errors, watch } = polled([new Error('down')]);
    await clock.advance(60_000);
    expect(errors.length).toBeGreaterThan(15);
    expect(errors[0]?.message).toBe('lookup of orders.shop:8080 failed: down');
    expect(errors[0]?.cause).toEqual(new Error('down'));
    await watch.close();
  });

  it('gives up on a lookup after the timeout, and aborts its signal', async () => {
    const { clock, errors, signals, watch } = polled(['hang']);
    await clock.advance(9_999);
    expect(errors).toEqual([]);
    await clock.advance(1);
    expect(errors[0]?.message).toMatch(/no answer within 10000 ms/);
    expect(signals[0]?.aborted).toBe(true);
    await watch.close();
    expect(clock.pending).toBe(0);
  });

  it('closes at once though a lookup hangs', async () => {
    const { clock, errors, signals, watch } = polled(['hang']);
    await clock.advance(0);
    await watch.close();
    expect(signals[0]?.aborted).toBe(true);
    expect(clock.pending).toBe(0);
    expect(errors).toEqual([]);
  });

  it('refreshes a second after the last lookup', async () => {
    const { clock, signals, watch } = polled([{ endpoints: [] }]);
    await clock.advance(0);
    for (let i = 0; i < 100; i++) watch.refresh();
    await clock.advance(1_100);
    expect(signals).toHaveLength(2);
    await watch.close();
    watch.refresh();
    expect(clock.pending).toBe(0);
  });

  it.each([
    [undefined, /it returned undefined where \{ endpoints, ttl\? \} is needed/],
    [{}, /endpoints must be an array of endpoints/],
    [{ endpoints: ['orders.shop:80'] }, /endpoints\[0\] is "orders\.shop", which is not an IP address/],
    [{ endpoints: [], ttl: 'soon' }, /its ttl must be a number of ms, got soon/],
    [{ endpoints: [], ttl: Number.NaN }, /its ttl must be a number of ms, got NaN/],
  ])('tells that a lookup returned nonsense: %j', async (answer, message) => {
    const { error, watch } = polled([answer as unknown as Lookup]);
    expect((await error(1)).message).toMatch(message);
    await watch.close();
  });

  it('refuses wrong options', () => {
    expect(() => polling(undefined as never)).toThrow(/lookup of polling must be a function/);
    expect(() => polling(async () => ({ endpoints: [] }), { timeout: 0 })).toThrow(
      /^polling: option timeout/,
    );
    expect(() => polling(async () => ({ endpoints: [] }), { interval: 1 } as never)).toThrow(
      /unknown option interval/,
    );
  });
});
