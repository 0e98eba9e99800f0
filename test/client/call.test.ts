import { AsyncLocalStorage } from 'node:async_hooks';
import { Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import type { Balancer } from '../../src/core/balancer.ts';
import { Caller, type Exchange, errno, inOrder, Script } from '../support/script.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

describe('a call', () => {
  it.each([
    ['answered', (script: Script) => script.last.answer()],
    ['failed', (script: Script) => script.last.send().fail(errno('ECONNRESET'))],
  ])('that was %s lets go of its caller, whoever still holds it', async (_, end) => {
    const script = new Script(1, { retry: false });
    await script.settle();
    const { controller, caller } = (() => {
      const caller = script.call();
      end(script);
      expect(caller.ends).toBe(1);
      return { controller: caller.controller, caller: new WeakRef(caller) };
    })();
    await new Promise(setImmediate);
    gc();
    expect(caller.deref()).toBeUndefined();
    controller?.abort(new Error('too late'));
    await script.service.close();
  });

  it('begins at once, goes to one endpoint, and tells the answer', async () => {
    const script = new Script(3);
    const caller = script.call();
    expect(caller.starts).toBe(1);
    await script.settle();
    expect(script.exchanges).toHaveLength(1);
    script.last.send().head(200, { etag: 'x' }).data('hello ').data('world').end();
    expect(caller).toMatchObject({
      status: 200,
      headers: { etag: 'x' },
      body: 'hello world',
      ended: true,
      ends: 1,
    });
    await script.service.close();
  });

  it('passes interim responses on, and they decide nothing', async () => {
    const script = new Script(2);
    const caller = script.call();
    await script.settle();
    script.last.send();
    for (let i = 0; i < 1_000; i++) script.last.head(103);
    expect(caller.interim).toHaveLength(1_000);
    expect(caller.status).toBeUndefined();
    script.last.fail(errno('ECONNRESET'));
    await script.clock.advance(300);
    script.last.answer(201);
    expect(caller).toMatchObject({ status: 201, ends: 1 });
    await script.service.close();
  });

  it('ends at its deadline however many interim responses come', async () => {
    const script = new Script(1, { timeout: { total: 500 } });
    const caller = script.call();
    await script.settle();
    script.last.send();
    for (let i = 0; i < 20; i++) {
      script.last.head(102);
      await script.clock.advance(50);
    }
    expect(caller.error?.code).toBe('STEERSMAN_ERR_DEADLINE');
    expect(caller.ends).toBe(1);
    await script.service.close();
  });

  it('waits for the first set, and no longer than the resolve timeout', async () => {
    const script = new Script(undefined, { timeout: { resolve: 100 } });
    const served = script.call();
    await script.clock.advance(50);
    script.resolver.set(['10.0.0.1:80']);
    script.last.answer();
    expect(served.status).toBe(200);
    await script.service.close();

    const other = new Script(undefined, { timeout: { resolve: 100 } });
    const caller = other.call();
    await other.clock.advance(107);
    expect(caller.error).toMatchObject({ code: 'STEERSMAN_ERR_RESOLVE' });
    await other.service.close();
  });

  it('sends the headers that it was given, whatever has become of them while it waited', async () => {
    const script = new Script(undefined);
    await script.settle();
    const pairs = [
      ['x-id', '1'],
      ['x-id', '2'],
    ] as const;
    const object: Record<string, string> = { 'x-id': '1' };
    const list = ['x-id', '1'];
    const map = new Map([['x-id', '1']]);
    const generated = (function* () {
      yield* pairs;
    })();
    const calls = [object, list, map, generated, undefined, null].map((headers) =>
      script.call({ headers: headers as never }),
    );
    object['x-id'] = list[1] = 'changed';
    map.set('x-id', 'changed');
    script.resolver.set(['10.0.0.1:80']);
    const sent = script.exchanges.map(({ options: { headers } }) => headers as never);
    expect(sent.slice(0, 2)).toEqual([{ 'x-id': '1' }, ['x-id', '1']]);
    expect([...(sent[2] ?? [])]).toEqual([['x-id', '1']]);
    // Twice: it may have to be sent again.
    for (let i = 0; i < 2; i++) expect([...(sent[3] ?? [])]).toEqual(pairs);
    expect(sent.slice(4)).toEqual([undefined, null]);
    for (const exchange of script.exchanges) exchange.answer();
    expect(calls.map(({ status }) => status)).toEqual(new Array(6).fill(200));
    await script.service.close();
  });

  it('that fails before it was sent destroys the stream it was given, so that its source is not left open', async () => {
    const script = new Script(1);
    await script.settle();
    for (const aborted of [true, false]) {
      const body = new Readable({ read() {} });
      const caller = new Caller();
      caller.onRequestStart = (controller) => {
        if (aborted) controller.abort(new Error('enough'));
        else throw new Error('my mistake');
      };
      script.call({ method: 'POST', body }, caller);
      expect(caller.ends).toBe(1);
      expect(body.destroyed).toBe(true);
    }
    expect(script.exchanges).toHaveLength(0);
    await script.service.close();
  });

  it('that the caller aborts for a reason of its own ends with that, whatever it is', async () => {
    const script = new Script(1);
    await script.settle();
    for (const sent of [false, true]) {
      const caller = script.call();
      if (sent) script.last.send().head(200);
      caller.controller?.abort('enough' as never);
      expect(caller.error).toBe('enough');
    }
    await script.service.close();
  });

  it('fails at once when the set is empty', async () => {
    const script = new Script([]);
    await script.settle();
    const caller = script.call();
    expect(caller.error).toMatchObject({ code: 'STEERSMAN_ERR_NO_ENDPOINTS', target: 'orders.shop' });
    await script.service.close();
  });

  it('that the caller aborts ends at once, in every phase, and nobody is blamed', async () => {
    const reason = new Error('enough');
    const phases: Record<string, (script: Script) => void> = {
      resolving: () => {},
      connecting: (script) => script.resolver.set(['10.0.0.1:80']),
      sent: (script) => {
        script.resolver.set(['10.0.0.1:80']);
        script.last.send();
      },
      'backing off': (script) => {
        script.resolver.set(['10.0.0.1:80']);
        script.last.send().fail(errno('ECONNRESET'));
      },
      'about to go elsewhere': (script) => {
        script.resolver.set(['10.0.0.1:80', '10.0.0.2:80']);
        script.last.fail(errno('ECONNREFUSED'));
      },
      body: (script) => {
        script.resolver.set(['10.0.0.1:80']);
        script.last.send().head().data('x');
      },
    };
    for (const [phase, reach] of Object.entries(phases)) {
      const script = new Script(undefined);
      const caller = script.call();
      await script.settle();
      reach(script);
      if (phase === 'backing off') await script.settle();
      const made = script.exchanges.length;
      caller.controller?.abort(reason);
      expect(caller.error, phase).toBe(reason);
      expect(caller.ends, phase).toBe(1);
      await script.clock.advance(60_000);
      expect(script.exchanges.length, phase).toBe(made);
      expect(caller.ends, phase).toBe(1);
      const known = script.service.snapshot().endpoints;
      expect(
        known.every(({ inflight }) => inflight === 0),
        phase,
      ).toBe(true);
      if (phase !== 'backing off' && phase !== 'about to go elsewhere')
        expect(
          known.every(({ failures }) => failures === 0),
          phase,
        ).toBe(true);
      // Nor does closing wait for a connection that nobody wants any more.
      await script.service.close();
      expect(script.clock.pending, phase).toBe(0);
    }
  });

  it('given up while it waited for a connection is never written', async () => {
    const script = new Script(1);
    const caller = script.call({ method: 'POST' });
    await script.settle();
    caller.controller?.abort(new Error('enough'));
    script.last.send();
    expect(script.last.ended).toBe(true);
    expect(script.last.aborted).toBe(false);
    await script.service.close();
  });

  it('fails, and is not retried, when the caller’s own handler throws', async () => {
    for (const [where, status] of [
      ['interim', 103],
      ['final', 200],
    ] as const) {
      const script = new Script(3);
      const caller = new Caller();
      const mistake = new Error(`my mistake: ${where}`);
      caller.onResponseStart = () => {
        throw mistake;
      };
      script.call({}, caller);
      await script.settle();
      script.last.send().head(status);
      await script.clock.advance(1_000);
      expect(caller.error).toBe(mistake);
      expect(script.exchanges).toHaveLength(1);
      expect(script.service.snapshot().endpoints[0]).toMatchObject({ failures: 0, inflight: 0 });
      await script.service.close();
    }
  });

  it('makes each of its attempts in the async context of its caller', async () => {
    const caller = new AsyncLocalStorage<string>();
    const seen: string[] = [];
    const pick: Balancer['pick'] = (backends, request) => {
      seen.push(`pick ${caller.getStore()}`);
      return inOrder.pick(backends, request);
    };
    const script = new Script(undefined, { balancer: { pick }, hedge: { delay: 100 } });
    const call = (name: string): Caller => caller.run(name, () => script.call());
    const callers = [call('one'), call('two')];
    await script.settle();
    script.resolver.set(['10.0.0.1:80', '10.0.0.2:80']);
    expect(seen.splice(0)).toEqual(['pick one', 'pick two']);
    const [first, second] = script.exchanges as [Exchange, Exchange];
    first.fail(errno('ECONNREFUSED'));
    second.send().fail(errno('ECONNRESET'));
    await script.clock.advance(99);
    expect(seen.splice(0).sort()).toEqual(['pick one', 'pick two']);
    await script.clock.advance(250);
    expect(seen.splice(0).sort()).toEqual(['pick one', 'pick two']);
    for (const exchange of script.exchanges) exchange.answer();
    expect(callers.map(({ status }) => status)).toEqual([200, 200]);
    await script.service.close();
  });

  it('holds its backend until the body has ended', async () => {
    const script = new Script(1);
    script.call();
    await script.settle();
    const inflight = (): number | undefined => script.service.snapshot().endpoints[0]?.inflight;
    expect(inflight()).toBe(1);
    script.last.send().head().data('x');
    expect(inflight()).toBe(1);
    script.last.end();
    expect(inflight()).toBe(0);
    await script.service.close();
  });

  it('is not retried once its answer has begun, and says what happened', async () => {
    const script = new Script(3);
    const caller = script.call();
    await script.settle();
    script.last.send().head(200).data('half').fail(errno('ECONNRESET'));
    await script.clock.advance(1_000);
    expect(script.exchanges).toHaveLength(1);
    expect(caller.error).toMatchObject({
      code: 'ECONNRESET',
      attempts: [{ class: 'committed', phase: 'response', code: 'ECONNRESET', endpoint: '10.0.0.1:80' }],
    });
    expect(script.service.snapshot().endpoints[0]?.failures).toBe(1);
    await script.service.close();
  });

  it('pauses and resumes the answer, also when it paused before there was one', async () => {
    const script = new Script(1);
    const caller = script.call();
    caller.controller?.pause();
    await script.settle();
    script.last.send().head();
    expect(script.last.paused).toBe(true);
    caller.controller?.resume();
    expect(script.last.paused).toBe(false);
    script.last.end();
    await script.service.close();
  });

  it('tells each attempt what is left of its time, where a header is named for it', async () => {
    const script = new Script(2, { timeout: { total: 1_000, attempt: 300, header: 'X-Left-Ms' } });
    script.call({ headers: ['accept', '*/*'] });
    script.call({ headers: { accept: '*/*' } });
    script.call({ headers: new Map([['accept', '*/*']]) });
    script.call({ headers: { 'X-Left-Ms': '7' } });
    script.call();
    await script.settle();
    expect(script.exchanges.map(({ options }) => JSON.stringify(options.headers))).toEqual([
      '["accept","*/*","x-left-ms","300"]',
      '{"accept":"*/*","x-left-ms":"300"}',
      '[["accept","*/*"],["x-left-ms","300"]]',
      '{"X-Left-Ms":"7"}',
      '{"x-left-ms":"300"}',
    ]);
    for (const exchange of script.exchanges) exchange.answer();
    const caller = script.call();
    await script.clock.advance(550);
    expect(script.last.options.headers).toEqual({ 'x-left-ms': '300' });
    await script.clock.advance(350);
    expect(script.last.options.headers).toEqual({ 'x-left-ms': expect.stringMatching(/^[1-3]?\d\d$/) });
    await script.clock.advance(200);
    expect(caller.error?.code).toBe('STEERSMAN_ERR_DEADLINE');
    for (const exchange of script.exchanges) exchange.fail();
    await script.service.close();
  });
});

describe('close()', () => {
  it('lets calls in flight finish, and refuses new ones', async () => {
    const script = new Script(2);
    const running = script.call();
    await script.settle();
    const closing = script.service.close();
    const refused = script.call();
    expect(refused.error).toMatchObject({ code: 'STEERSMAN_ERR_CLOSED' });
    await script.settle();
    script.last.answer();
    await closing;
    expect(running.status).toBe(200);
    expect(script.resolver.watches).toBe(0);
    expect(script.clock.pending).toBe(0);
  });

  it('fails what waits for the first set, or for its next attempt, at once', async () => {
    const waiting = new Script(undefined);
    const first = waiting.call();
    await waiting.service.close();
    expect(first.error).toMatchObject({ code: 'STEERSMAN_ERR_CLOSED' });
    expect(waiting.clock.pending).toBe(0);

    const script = new Script(2, { retry: { backoff: { min: 5_000, max: 5_000 } } });
    const second = script.call();
    await script.settle();
    script.last.send().fail(errno('ECONNRESET'));
    await script.settle();
    await script.service.close();
    expect(second.error).toMatchObject({
      code: 'STEERSMAN_ERR_CLOSED',
      attempts: [{ class: 'ambiguous', code: 'ECONNRESET' }],
    });
    expect(second.ends).toBe(1);
    expect(script.clock.pending).toBe(0);
  });

  it('cuts what is left after the drain timeout', async () => {
    const script = new Script(1, { pool: { drainTimeout: 2_000 } });
    const caller = script.call({ method: 'POST' });
    await script.settle();
    script.last.send();
    const closing = script.service.close();
    await script.clock.advance(1_999);
    expect(caller.ends).toBe(0);
    await script.clock.advance(1);
    await closing;
    expect(caller.error).toMatchObject({ code: 'UND_ERR_DESTROYED', attempts: [{ class: 'ambiguous' }] });
  });

  it('ends though a dispatcher throws, or never closes', async () => {
    const broken = {
      dispatch: () => true,
      close: () => {
        throw new Error('no');
      },
      destroy: async () => {},
    };
    const stuck = { ...broken, close: () => new Promise(() => {}) };
    for (const dispatcher of [broken, stuck]) {
      const script = new Script(1, { transport: () => dispatcher as never, pool: { drainTimeout: 100 } });
      await script.settle();
      const caller = script.call({ method: 'POST' });
      const closing = script.service.close();
      await script.clock.advance(20_000);
      await closing;
      expect(caller.error?.code).toBe('STEERSMAN_ERR_DEADLINE');
      expect(script.clock.pending).toBe(0);
    }
  });
});
