import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { leastConnection } from '../../src/balancers/least-connection.ts';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import { createClient } from '../../src/client/client.ts';
import { createFetch } from '../../src/client/fetch.ts';
import type { Backend } from '../../src/core/backend.ts';
import type { Balancer } from '../../src/core/balancer.ts';
import { ResolveError } from '../../src/core/errors.ts';
import type { Resolver, ResolverListener } from '../../src/core/resolver.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { endpoint } from '../../src/testing/values.ts';
import { Caller, errno, Script } from '../support/script.ts';

/** Fails so many calls at whatever they are sent to. */
async function failures(script: Script, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const caller = script.call({ method: 'POST' });
    await script.settle();
    script.last.send().fail(errno('ECONNRESET'));
    expect(caller.ends).toBe(1);
  }
}

describe('ejection', () => {
  it('skips an endpoint from its fifth failure on, and never fails a call by itself', async () => {
    const script = new Script(3);
    await failures(script, 5);
    expect(script.service.snapshot().endpoints.map(({ state }) => state)).toEqual([
      'ejected',
      'active',
      'active',
    ]);
    expect(script.events.filter(({ event }) => event === 'ejected')).toEqual([
      {
        event: 'ejected',
        data: expect.objectContaining({ target: 'orders.shop', duration: expect.closeTo(5_000, -3) }),
      },
    ]);
    for (let i = 0; i < 10; i++) {
      const caller = script.call();
      expect(script.last.endpoint.id).toBe('10.0.0.2:80');
      script.last.answer();
      expect(caller.status).toBe(200);
    }
    await script.service.close();
    expect(script.clock.pending).toBe(0);
  });

  it('sends one trial, and takes the endpoint back when it is answered', async () => {
    const script = new Script(3);
    await failures(script, 5);
    await script.clock.advance(5_600);
    const trial = script.call();
    expect(script.last.endpoint.id).toBe('10.0.0.1:80');
    const exchange = script.last;
    script.call();
    expect(script.last.endpoint.id).toBe('10.0.0.2:80');
    script.last.answer();
    // Decided by the headers: a body may last for ever.
    exchange.send().head(200);
    await script.settle();
    expect(script.count('restored')).toBe(1);
    expect(script.service.snapshot().endpoints[0]?.circuit).toBe('closed');
    exchange.end();
    expect(trial.status).toBe(200);
    await script.service.close();
  });

  it('ejects at most half, and never the last', async () => {
    for (const [size, most] of [
      [1, 0],
      [2, 1],
      [3, 1],
      [5, 2],
      [10, 5],
    ] as const) {
      const script = new Script(size, { balancer: roundRobin() });
      await failures(script, 20 * size);
      const { endpoints } = script.service.snapshot();
      expect(endpoints.filter(({ state }) => state === 'ejected')).toHaveLength(most);
      await script.service.close();
    }
  });

  it('leaves somebody to pick after any history', () => {
    type Step = { kind: 'call' | 'time' | 'set'; n: number };
    const step = fc.record({
      kind: fc.constantFrom<Step['kind']>('call', 'call', 'call', 'time', 'set'),
      n: fc.integer({ min: 0, max: 1_000 }),
    });
    return fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60 }),
        fc.constantFrom(0, 0.5, 1),
        fc.integer(),
        async (steps, panicThreshold, seed) => {
          const random = seeded(seed);
          const script = new Script(5, {
            panicThreshold,
            balancer: roundRobin({ random }),
            circuit: { endpoint: { consecutive: 2 } },
          });
          await script.settle();
          for (const { kind, n } of steps) {
            if (kind === 'time') await script.clock.advance(n * 20);
            else if (kind === 'set') script.resolver.set(names(1 + (n % 7), n % 5));
            else {
              const caller = script.call({ method: 'POST' });
              expect(caller.error).toBeUndefined();
              if (random() < 0.8) script.last.send().fail(errno('ECONNRESET'));
              else script.last.answer();
            }
            expect(script.service.pick({})).not.toBeInstanceOf(Error);
          }
          await script.service.close();
          expect(script.clock.pending).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('is ignored in panic: when most of what is known is ejected', async () => {
    const script = new Script(4, { balancer: roundRobin() });
    await failures(script, 40);
    const ejected = script.service.snapshot().endpoints.filter(({ state }) => state === 'ejected');
    expect(ejected).toHaveLength(2);
    script.resolver.set([...ejected.map((entry) => entry.endpoint), '10.0.9.9:80']);
    expect(script.service.snapshot().panic).toBe(true);
    const picked = new Set<unknown>();
    for (let i = 0; i < 6; i++) picked.add(script.service.pick({}));
    expect(picked.size).toBe(3);
    await script.service.close();
  });

  it('keeps to the pod: another id at the same address starts clean', async () => {
    const script = new Script([]);
    const pod = (id: string) => endpoint({ id, address: '10.0.0.1' });
    script.resolver.set([pod('a'), pod('b')]);
    await failures(script, 5);
    expect(script.service.snapshot().endpoints[0]?.state).toBe('ejected');
    script.resolver.set([pod('c'), pod('b')]);
    const known = script.service.snapshot().endpoints.filter(({ state }) => state !== 'draining');
    expect(known.map(({ state }) => state)).toEqual(['active', 'active']);
    await script.service.close();
  });

  it('ignores what calls from before the ejection bring', async () => {
    const script = new Script(3, { balancer: { pick: (backends) => backends[0] } });
    const early: Caller[] = [];
    for (let i = 0; i < 3; i++) early.push(script.call({ method: 'POST' }));
    await script.settle();
    const old = [...script.exchanges];
    await failures(script, 5);
    await script.clock.advance(5_600);
    expect(script.service.snapshot().endpoints[0]?.circuit).toBe('half-open');
    for (const exchange of old) exchange.answer();
    expect(script.service.snapshot().endpoints[0]?.circuit).toBe('half-open');
    await script.service.close();
  });

  it('makes no circuit for endpoints that never failed, and drops one that has healed', async () => {
    const script = new Script(1_000, { balancer: roundRobin() });
    await script.settle();
    for (let i = 0; i < 2_000; i++) {
      script.call();
      script.last.answer();
    }
    const circuits = (): number => {
      const picked = Array.from({ length: 1_000 }, () => script.service.pick({}) as { circuit?: unknown });
      return picked.filter(({ circuit }) => circuit !== undefined).length;
    };
    expect(circuits()).toBe(0);
    script.call({ method: 'POST' });
    script.last.send().fail(errno('ECONNRESET'));
    expect(circuits()).toBe(1);
    await script.clock.advance(11_000);
    for (let i = 0; i < 1_000; i++) {
      script.call();
      script.last.answer();
    }
    expect(circuits()).toBe(0);
    await script.service.close();
  });

  it('counts 502, 503 and 504, and no other answer', async () => {
    for (const status of [400, 404, 429, 500, 501, 502, 503, 504]) {
      const script = new Script(3);
      for (let i = 0; i < 5; i++) {
        script.call({ method: 'POST' });
        await script.settle();
        script.last.answer(status);
      }
      const counts = status >= 502;
      expect(script.service.snapshot().endpoints[0]?.state, String(status)).toBe(
        counts ? 'ejected' : 'active',
      );
      await script.service.close();
    }
  });

  it('does not blame an endpoint for the total deadline, nor for the caller’s abort', async () => {
    const script = new Script(2, { timeout: { total: 100 } });
    for (let i = 0; i < 10; i++) {
      script.call();
      await script.settle();
      script.last.send();
      await script.clock.advance(110);
    }
    expect(script.service.snapshot().endpoints.map(({ failures: count }) => count)).toEqual([0, 0]);
    await script.service.close();
  });

  it('does not blame an endpoint when we ourselves have no file descriptors left', async () => {
    const script = new Script(2);
    for (let i = 0; i < 20; i++) {
      const caller = script.call({ method: 'POST' });
      await script.settle();
      for (let hops = 0; caller.ends === 0; hops++) {
        script.last.fail(errno('EMFILE'));
        await script.clock.advance(1_000);
        expect(hops).toBeLessThan(10);
      }
      expect(caller.error).toMatchObject({
        code: 'EMFILE',
        attempts: [{ class: 'unsent' }, { class: 'unsent' }, {}, {}],
      });
    }
    expect(script.service.snapshot().endpoints.map(({ state }) => state)).toEqual(['active', 'active']);
    expect(script.count('ejected')).toBe(0);
    await script.service.close();
  });

  it('closes within five seconds though its watch never does, and says so', async () => {
    const clock = new FakeClock();
    const hanging: Resolver = {
      watch: () => ({ refresh() {}, close: () => new Promise(() => {}) }),
    };
    const client = createClient('http://orders.shop', { resolver: hanging, clock });
    void client.ready().catch(() => {});
    const errors: unknown[] = [];
    client.on('error', ({ error }) => errors.push(error));
    const closed = client.close();
    await clock.advance(5_000);
    await closed;
    expect(errors).toEqual([
      expect.objectContaining({
        message: 'the watch of orders.shop failed to close',
        cause: expect.objectContaining({ message: 'it took more than 5000 ms' }),
      }),
    ]);
    expect(clock.pending).toBe(0);
  });

  it.each([
    ['leave the set', (script: Script) => script.resolver.set([])],
    ['are destroyed', (script: Script) => script.service.destroy(errno('UND_ERR_DESTROYED'))],
  ])('does not blame endpoints that %s for the calls that are cut by it', async (_, end) => {
    const script = new Script(3, {
      pool: { drainTimeout: 0 },
      retry: false,
      circuit: { endpoint: { consecutive: 1 } },
    });
    await script.settle();
    const caller = script.call();
    script.last.send();
    end(script);
    expect(caller.error).toMatchObject({ code: 'UND_ERR_DESTROYED' });
    await script.service.close();
    expect(script.count('ejected')).toBe(0);
    expect(script.clock.pending).toBe(0);
  });

  it('leaves calls in flight alone, and close() cuts them after the drain timeout', async () => {
    const script = new Script(2, { pool: { drainTimeout: 1_000 }, timeout: { total: 600_000 } });
    const [long, hung] = [script.call({ method: 'POST' }), script.call({ method: 'POST' })];
    await script.settle();
    const [first, second] = script.exchanges;
    first?.send();
    second?.send();
    await failures(script, 5);
    expect(script.service.snapshot().endpoints[0]?.state).toBe('ejected');
    await script.clock.advance(60_000);
    first?.head().end();
    expect(long.ended).toBe(true);
    const closed = script.service.close();
    await script.clock.advance(999);
    expect(hung.ends).toBe(0);
    await script.clock.advance(1);
    await closed;
    expect(hung.error).toMatchObject({ code: 'UND_ERR_DESTROYED' });
    expect(script.clock.pending).toBe(0);
  });

  it('takes new limits, or none, while it runs', async () => {
    const script = new Script(3);
    await failures(script, 2);
    script.update({ circuit: { endpoint: { consecutive: 3 } } });
    await failures(script, 1);
    expect(script.service.snapshot().endpoints[0]?.state).toBe('ejected');
    script.update({ circuit: { endpoint: false } });
    expect(script.events.at(-1)).toMatchObject({
      event: 'restored',
      data: { endpoint: { address: '10.0.0.1' } },
    });
    await failures(script, 20);
    expect(script.service.snapshot().endpoints.map(({ state }) => state)).toEqual([
      'active',
      'active',
      'active',
    ]);
    await script.service.close();
    expect(script.clock.pending).toBe(0);
  });
});

describe('the circuit of a service', () => {
  const options = {
    retry: false as const,
    circuit: { endpoint: false as const, service: { volume: 10, reset: 1_000 } },
  };

  it('fails calls at once while the service fails, and says when to come back', async () => {
    const script = new Script(2, options);
    await failures(script, 10);
    const made = script.exchanges.length;
    const refused = script.call();
    expect(script.service.snapshot().circuit).toBe('open');
    expect(refused.error).toMatchObject({ name: 'CircuitOpenError', code: 'STEERSMAN_ERR_CIRCUIT_OPEN' });
    const { retryAfter } = refused.error as unknown as { retryAfter: number };
    expect(retryAfter).toBeGreaterThan(800);
    expect(retryAfter).toBeLessThan(1_200);
    expect(script.exchanges).toHaveLength(made);
    await script.clock.advance(1_200);
    const trial = script.call();
    expect(script.call().error?.code).toBe('STEERSMAN_ERR_CIRCUIT_OPEN');
    script.last.answer();
    await script.settle();
    expect(trial.status).toBe(200);
    script.call();
    script.last.answer();
    expect(script.exchanges).toHaveLength(made + 2);
    await script.service.close();
    expect(script.clock.pending).toBe(0);
  });

  it('counts an answer once, also when its body breaks', async () => {
    const script = new Script(2, {
      ...options,
      circuit: { endpoint: false, service: { volume: 10, rate: 0.3 } },
    });
    await script.settle();
    for (let i = 0; i < 20; i++) {
      script.call();
      script.last.send().head(200).fail(errno('ECONNRESET'));
    }
    expect(script.service.snapshot().circuit).toBe('closed');
    await script.service.close();
  });

  it('counts what the caller is told: not aborts, nor failures that a retry mended', async () => {
    const script = new Script(3, { ...options, retry: { backoff: { min: 0, max: 0 } } });
    for (let i = 0; i < 30; i++) {
      const caller = script.call();
      await script.settle();
      script.last.send().fail(errno('ECONNRESET'));
      await script.clock.advance(1);
      if (i % 2 === 0) caller.controller?.abort(new Error('enough'));
      else script.last.answer();
      expect(caller.ends).toBe(1);
    }
    expect(script.call().error).toBeUndefined();
    for (const exchange of script.exchanges) exchange.answer();
    await script.service.close();
  });

  it('does not count what the caller’s own body or handler did', async () => {
    const script = new Script(2, options);
    await script.settle();
    const mine = new Error('mine');
    for (let i = 0; i < 20; i++) {
      const body = Readable.from(
        (async function* () {
          yield 'x';
          throw mine;
        })(),
      );
      const sender = script.call({ method: 'POST', body: body as never });
      const { options } = script.last.send();
      await text(options.body as never).catch((error) => script.last.fail(error));
      expect(sender.error).toBe(mine);
      const thrower = new Caller();
      thrower.onResponseStart = () => {
        throw mine;
      };
      script.call({}, thrower);
      script.last.send().head(103);
      expect(thrower.error).toBe(mine);
    }
    expect(script.service.snapshot().circuit).toBe('closed');
    await script.service.close();
  });
});

describe('limits', () => {
  it('fail a call at once when every endpoint has as many as it may, and blame nobody', async () => {
    const script = new Script(2, {
      pool: { connections: 2 },
      queue: { endpoint: 3 },
      balancer: leastConnection(),
    });
    await script.settle();
    const served = Array.from({ length: 10 }, () => script.call());
    expect(script.service.snapshot().endpoints.map(({ inflight }) => inflight)).toEqual([5, 5]);
    const refused = script.call();
    expect(refused.error).toMatchObject({ code: 'STEERSMAN_ERR_OVERLOAD', message: /pool\.connections/ });
    script.exchanges[0]?.answer();
    const next = script.call();
    for (const exchange of [...script.exchanges]) exchange.answer();
    for (const caller of [...served, next]) expect(caller.status).toBe(200);
    expect(script.service.snapshot().endpoints.map(({ failures: count }) => count)).toEqual([0, 0]);
    await script.service.close();
  });

  it('send a call on where its first choice is full, whatever the balancer thinks', async () => {
    for (const stubborn of [false, true]) {
      const script = new Script(3, {
        pool: { connections: 1 },
        queue: { endpoint: 0 },
        balancer: {
          pick: (backends, { tried }) =>
            (stubborn ? undefined : backends.find((backend: Backend) => !tried?.has(backend))) ?? backends[0],
        },
      });
      await script.settle();
      for (let i = 0; i < 3; i++) script.call();
      expect(new Set(script.exchanges.map((exchange) => exchange.endpoint.id)).size).toBe(3);
      expect(script.call().error?.code).toBe('STEERSMAN_ERR_OVERLOAD');
      for (const exchange of script.exchanges) exchange.answer();
      await script.service.close();
    }
  });

  it('bound the calls that wait in all, for the first set or for a connection', async () => {
    const script = new Script(undefined, { queue: { total: 5 } });
    const waiting = Array.from({ length: 5 }, () => script.call());
    expect(script.call().error).toMatchObject({ code: 'STEERSMAN_ERR_OVERLOAD', message: /queue\.total/ });
    await script.settle();
    script.resolver.set(['10.0.0.1:80']);
    expect(script.call().error?.code).toBe('STEERSMAN_ERR_OVERLOAD');
    script.exchanges[0]?.send();
    expect(script.call().error).toBeUndefined();
    for (const exchange of script.exchanges) exchange.answer();
    for (const caller of waiting) expect(caller.ends).toBe(1);
    expect(script.service.connecting).toBe(0);
    await script.service.close();
  });

  it('do not exist for an endpoint whose connections are not limited', async () => {
    const script = new Script(1, { queue: { endpoint: 0 } });
    await script.settle();
    for (let i = 0; i < 1_000; i++) expect(script.call().error).toBeUndefined();
    for (const exchange of script.exchanges) exchange.answer();
    await script.service.close();
  });
});

describe('slow start', () => {
  it('gives a new endpoint a growing share of its picks, and keeps its age through set changes', async () => {
    const script = new Script(4, { slowStart: 10_000, balancer: roundRobin() });
    await script.settle();
    const shareOf = (id: string): number => {
      let picks = 0;
      for (let i = 0; i < 2_000; i++) {
        const picked = script.service.pick({});
        if (!(picked instanceof Error) && picked.endpoint.id === id) picks++;
      }
      return picks / 2_000;
    };
    // All are new: nobody is better.
    expect(shareOf('10.0.0.1:80')).toBeCloseTo(0.25, 1);
    await script.clock.advance(20_000);
    script.resolver.set(names(5));
    expect(shareOf('10.0.0.5:80')).toBeGreaterThan(0.01);
    expect(shareOf('10.0.0.5:80')).toBeLessThan(0.035);
    await script.clock.advance(5_000);
    script.resolver.set(names(6));
    script.resolver.set(names(5));
    expect(shareOf('10.0.0.5:80')).toBeGreaterThan(0.08);
    expect(shareOf('10.0.0.5:80')).toBeLessThan(0.12);
    await script.clock.advance(5_000);
    expect(shareOf('10.0.0.5:80')).toBeCloseTo(0.2, 1);
    await script.service.close();
  });

  it('does not send a call back to where it has just failed', async () => {
    const script = new Script(1, { slowStart: 10_000, circuit: { endpoint: false } });
    await script.clock.advance(20_000);
    script.resolver.set(names(2));
    for (let i = 0; i < 20; i++) {
      const caller = script.call({ method: 'POST' });
      while (script.last.endpoint.id === '10.0.0.1:80' && caller.ends === 0) {
        script.last.fail(errno('ECONNREFUSED'));
        await script.settle();
      }
      script.last.answer();
      expect(caller.error?.attempts ?? []).toEqual([]);
    }
    expect(script.exchanges.length).toBeLessThanOrEqual(40);
    await script.service.close();
  });
});

describe('the set', () => {
  it('that changes drains what has left it: no new calls, idle connections closed at once, calls in flight finish', async () => {
    const script = new Script(2);
    const caller = script.call();
    await script.settle();
    const exchange = script.last.send();
    script.resolver.set(['10.0.0.2:80']);
    expect(script.closed).toEqual(['10.0.0.1:80']);
    expect(script.service.snapshot().endpoints.map(({ state }) => state)).toEqual(['active', 'draining']);
    for (let i = 0; i < 5; i++) {
      script.call();
      expect(script.last.endpoint.id).toBe('10.0.0.2:80');
      script.last.answer();
    }
    exchange.head(200).end();
    await script.settle();
    expect(caller.status).toBe(200);
    expect(script.service.snapshot().endpoints).toHaveLength(1);
    await script.service.close();
  });

  it('that changes is there for a call that is made because another was cut by it', async () => {
    const script = new Script(1, { pool: { drainTimeout: 0 }, retry: false });
    await script.settle();
    const cut = new Caller();
    const next = new Caller();
    cut.onResponseError = () => void script.call({}, next);
    script.call({}, cut);
    script.last.send();
    script.resolver.set(['10.0.0.2:80']);
    expect(script.last.endpoint.id).toBe('10.0.0.2:80');
    script.last.answer();
    expect(next.status).toBe(200);
    expect(script.count('error')).toBe(0);
    await script.service.close();
  });

  it('is kept when the source fails, and called stale until it is confirmed', async () => {
    const script = new Script(2);
    await script.settle();
    script.resolver.fail('gone');
    await script.clock.advance(1_000);
    expect(script.service.snapshot()).toMatchObject({ stale: true, age: 1_000 });
    expect(script.count('stale')).toBe(1);
    script.call();
    script.last.answer();
    script.resolver.set(names(2));
    expect(script.service.snapshot()).toMatchObject({ stale: false, age: 0 });
    expect(script.count('endpoints')).toBe(1);
    await script.service.close();
  });

  it('told again in another order is no change', async () => {
    const script = new Script(3);
    await script.settle();
    script.resolver.set([...names(3)].reverse());
    expect(script.count('endpoints')).toBe(1);
    expect(script.closed).toEqual([]);
    await script.service.close();
  });

  it('does not grow what is kept, however many endpoints come and go', async () => {
    const script = new Script(3);
    await script.settle();
    for (let i = 0; i < 500; i++) {
      script.resolver.set(names(3, i % 200));
      const caller = script.call({ method: 'POST' });
      script.last.send().fail(errno('ECONNRESET'));
      expect(caller.ends).toBe(1);
    }
    await script.settle();
    expect(script.service.snapshot().endpoints).toHaveLength(3);
    await script.service.close();
    expect(script.clock.pending).toBe(0);
  });
});

describe('what users plug in', () => {
  it.each<[string, unknown, RegExp]>([
    [
      'throws',
      () => {
        throw new Error('boom');
      },
      /transport of orders\.shop failed for 10\.0\.0\.\d:80: boom/,
    ],
    ['makes nothing', () => undefined, /no Dispatcher with dispatch\(\)/],
    ['makes half a dispatcher', () => ({ dispatch: () => true }), /no Dispatcher with close\(\)/],
  ])('a transport that %s fails the call with an error of ours', async (_, transport, message) => {
    const script = new Script(2, { transport: transport as never });
    await script.settle();
    const caller = script.call();
    await script.clock.advance(1_000);
    expect(caller.error).toMatchObject({ code: 'STEERSMAN_ERR_NO_ENDPOINTS', message });
    expect(caller.error?.attempts?.length).toBeGreaterThan(1);
    await script.service.close();
  });

  it('a dispatcher that throws, and one that never answers, end in an error within the deadline', async () => {
    const dispatchers = [
      () => {
        throw new Error('boom');
      },
      () => false,
      () => undefined,
    ];
    for (const dispatch of dispatchers) {
      const dispatcher = { dispatch, close: async () => {}, destroy: async () => {} };
      const script = new Script(2, { transport: () => dispatcher as never, timeout: { total: 500 } });
      await script.settle();
      const caller = script.call();
      await script.clock.advance(510);
      expect(caller.error).toBeInstanceOf(Error);
      expect(caller.ends).toBe(1);
      await script.service.close();
    }
  });

  it('a balancer cannot spoil the set, only its own pick', async () => {
    const spoil: Balancer = {
      pick: (backends) => {
        (backends as unknown as Backend[]).length = 0;
        return backends[0];
      },
    };
    const script = new Script(2, { balancer: spoil });
    await script.settle();
    expect(script.call().error).toMatchObject({
      code: 'STEERSMAN_ERR_NO_ENDPOINTS',
      message: /balancer threw/,
    });
    script.service.update({ ...script.service.parts, balancer: roundRobin() });
    const caller = script.call();
    script.last.answer();
    expect(caller.status).toBe(200);
    await script.service.close();
  });

  it('what returns a promise where none is of use ends the call, and not the process, should that fail', async () => {
    const late = (async () => {
      throw new Error('late');
    }) as never;
    for (const options of [{ balancer: { pick: late } }, { transport: late }]) {
      const script = new Script(1, { ...options, retry: false });
      await script.settle();
      const caller = script.call();
      await script.settle();
      expect(caller.error).toMatchObject({ code: 'STEERSMAN_ERR_NO_ENDPOINTS' });
      await script.service.close();
    }
    await using fetch = createFetch({ match: late });
    await expect(fetch('http://orders.shop/')).rejects.toThrow('option match must return true');
  });

  it('a balancer whose begin or release throws disturbs no call', async () => {
    const boom = (): never => {
      throw new Error('boom');
    };
    for (const begin of [boom, () => boom, () => async () => boom()]) {
      const script = new Script(2, { balancer: { pick: (backends) => backends[0], begin } });
      await script.settle();
      const caller = script.call();
      script.last.answer();
      expect(caller.status).toBe(200);
      await script.settle();
      expect(script.count('error')).toBe(1);
      expect(script.service.snapshot().endpoints[0]?.inflight).toBe(0);
      await script.service.close();
    }
  });

  it('a resolver that cannot start is asked again a second later', async () => {
    let starts = 0;
    const script = new Script(0, {
      resolver: {
        watch: (_, listener) => {
          if (++starts === 1) throw new Error('not yet');
          queueMicrotask(() => listener.onEndpoints([endpoint('10.0.0.1:80')]));
          return { refresh() {}, close: async () => {} };
        },
      },
    });
    const first = script.call();
    await script.settle();
    expect(first.error).toMatchObject({ code: 'STEERSMAN_ERR_RESOLVE', message: /not yet/ });
    await script.clock.advance(1_001);
    const second = script.call();
    await script.settle();
    script.last.answer();
    expect(second.status).toBe(200);
    await script.service.close();
  });

  it('a resolver that says at once what it has to say is heard by those who listen right after', async () => {
    const set = [endpoint('10.0.0.1:80'), { ...endpoint('10.0.0.2:80'), id: '10.0.0.1:80' }];
    const script = new Script(0, {
      resolver: {
        watch: (_, listener) => {
          listener.onEndpoints(set);
          return { refresh() {}, close: async () => {} };
        },
      },
    });
    script.service.start();
    expect(script.count('endpoints')).toBe(0);
    await script.settle();
    // Of two that have the same id the first counts, here as for the calls.
    expect(script.events).toMatchObject([{ event: 'endpoints', data: { endpoints: [set[0]] } }]);
    expect(script.service.snapshot().endpoints).toMatchObject([{ endpoint: set[0] }]);
    await script.service.close();

    const refusing = new Script(0, { resolver: { watch: () => undefined as never } });
    refusing.service.start();
    expect(refusing.count('error')).toBe(0);
    await refusing.settle();
    expect(refusing.count('error')).toBe(1);
    await refusing.service.close();
  });

  it('a resolver with an install of its own is understood: its warnings, and a name that does not exist', async () => {
    vi.resetModules();
    const other = await import('../../src/core/errors.ts');
    expect(other.ResolveError).not.toBe(ResolveError);
    let listener: ResolverListener | undefined;
    const script = new Script(0, {
      resolver: {
        watch: (_, given) => {
          listener = given;
          return { refresh() {}, close: async () => {} };
        },
      },
    });
    const call = script.call();
    listener?.onError(new other.ResolveError('no such name', 'orders.shop'));
    expect(call.error).toMatchObject({ message: 'no such name' });
    listener?.onEndpoints([endpoint('10.0.0.1:80')]);
    listener?.onError(new other.DiscoveryWarning('odd'));
    expect(script.count('warning')).toBe(1);
    expect(script.service.snapshot().stale).toBe(false);
    await script.service.close();
  });

  it('a watch whose refresh or close throws disturbs nothing', async () => {
    const boom = (): never => {
      throw new Error('boom');
    };
    const script = new Script(0, {
      resolver: {
        watch: (_, listener) => {
          queueMicrotask(() => listener.onEndpoints([endpoint('10.0.0.1:80')]));
          return { refresh: boom, close: boom };
        },
      },
    });
    await script.settle();
    const caller = script.call();
    script.last.fail(errno('ECONNREFUSED'));
    await script.clock.advance(100);
    script.last.answer();
    expect(caller.status).toBe(200);
    await script.service.close();
    expect(script.count('error')).toBeGreaterThanOrEqual(2);
  });

  it('a listener that throws disturbs neither calls nor the others', async () => {
    const script = new Script(2);
    script.service.events.on('ejected', () => {
      throw new Error('boom');
    });
    await failures(script, 5);
    expect(script.count('ejected')).toBe(1);
    expect(script.count('error')).toBe(1);
    await script.service.close();
  });
});

function names(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, i) => `10.0.0.${from + i + 1}:80`);
}
