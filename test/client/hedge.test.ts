import { describe, expect, it } from 'vitest';
import { Latencies } from '../../src/client/latencies.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { errno, Script } from '../support/script.ts';

describe('hedging', () => {
  it('asks another endpoint after the delay, and takes the first answer', async () => {
    const script = new Script(3, { hedge: { delay: 50 } });
    const caller = script.call();
    await script.settle();
    const first = script.last.send();
    await script.clock.advance(49);
    expect(script.exchanges).toHaveLength(1);
    await script.clock.advance(9);
    expect(script.exchanges).toHaveLength(2);
    expect(script.last.endpoint.id).not.toBe(first.endpoint.id);
    script.last.send().head(200);
    expect(first.aborted).toBe(true);
    script.last.data('second').end();
    expect(caller).toMatchObject({ status: 200, body: 'second', ends: 1 });
    expect(script.service.snapshot()).toMatchObject({ retries: 1 });
    expect(
      script.service.snapshot().endpoints.every(({ inflight, failures }) => inflight + failures === 0),
    ).toBe(true);
    await script.service.close();
  });

  it('takes the first answer also when it is the first attempt’s', async () => {
    const script = new Script(3, { hedge: { delay: 50 } });
    const caller = script.call();
    await script.settle();
    const first = script.last.send();
    await script.clock.advance(60);
    const second = script.last.send();
    first.head(201).end();
    expect(second.aborted).toBe(true);
    expect(caller).toMatchObject({ status: 201, ends: 1 });
    await script.service.close();
  });

  it('never hedges what may not run twice, nor a streamed body, nor where there is one endpoint', async () => {
    const script = new Script(3, { hedge: { delay: 50 } });
    script.call({ method: 'POST' });
    script.call({ method: 'PUT', body: (async function* () {})() as never });
    await script.settle();
    for (const exchange of script.exchanges) exchange.send();
    await script.clock.advance(1_000);
    expect(script.exchanges).toHaveLength(2);
    for (const exchange of script.exchanges) exchange.head().end();
    await script.service.close();

    const alone = new Script(1, { hedge: { delay: 50 } });
    alone.call();
    await alone.settle();
    await alone.clock.advance(1_000);
    expect(alone.exchanges).toHaveLength(1);
    alone.last.answer();
    await alone.service.close();
  });

  it('is paid for from the retry budget', async () => {
    const script = new Script(3, {
      hedge: { delay: 50 },
      retry: { budget: { ratio: 0, minPerSecond: 1, window: 1_000 } },
    });
    for (let i = 0; i < 5; i++) script.call();
    await script.settle();
    await script.clock.advance(60);
    expect(script.exchanges).toHaveLength(6);
    for (const exchange of script.exchanges) exchange.answer();
    await script.service.close();
  });

  it('is paid for though there are no retries: by the default budget', async () => {
    const script = new Script(3, { hedge: { delay: 50 }, retry: false });
    for (let i = 0; i < 500; i++) script.call();
    await script.settle();
    await script.clock.advance(60);
    expect(script.service.snapshot().retries).toBe(100 + 500 * 0.2);
    for (const exchange of script.exchanges) exchange.answer();
    await script.service.close();
  });

  it('loses nothing when one of the two fails, whichever it is', async () => {
    for (const lost of [0, 1]) {
      const script = new Script(3, { hedge: { delay: 50 } });
      const caller = script.call();
      await script.settle();
      await script.clock.advance(60);
      const [first, second] = script.exchanges;
      const [loser, winner] = lost === 0 ? [first, second] : [second, first];
      loser?.send().fail(errno('ECONNRESET'));
      expect(caller.ends).toBe(0);
      winner?.answer();
      expect(caller).toMatchObject({ status: 200, ends: 1 });
      await script.service.close();
    }
  });

  it('retries when both have failed', async () => {
    const script = new Script(3, { hedge: { delay: 50 } });
    const caller = script.call();
    await script.settle();
    await script.clock.advance(60);
    for (const exchange of [...script.exchanges]) exchange.send().fail(errno('ECONNRESET'));
    await script.clock.advance(40);
    expect(script.exchanges).toHaveLength(3);
    expect(new Set(script.exchanges.map(({ endpoint }) => endpoint.id)).size).toBe(3);
    script.last.answer();
    expect(caller.status).toBe(200);
    await script.service.close();
  });

  it('keeps the attempt timeout of the one that is left', async () => {
    const script = new Script(3, { hedge: { delay: 50 }, timeout: { attempt: 200 } });
    script.call();
    await script.settle();
    const first = script.last.send();
    await script.clock.advance(60);
    script.last.send().fail(errno('ECONNRESET'));
    await script.clock.advance(130);
    expect(first.aborted).toBe(false);
    await script.clock.advance(20);
    expect(first.aborted).toBe(true);
    await script.clock.advance(100);
    for (const exchange of script.exchanges) exchange.answer();
    await script.service.close();
  });

  it('gives up the first at its own attempt timeout, and counts that against it, while the second goes on', async () => {
    const script = new Script(3, { hedge: { delay: 50 }, timeout: { attempt: 200 } });
    const caller = script.call();
    await script.settle();
    const first = script.last.send();
    await script.clock.advance(60);
    const second = script.last.send();
    await script.clock.advance(150);
    expect([first.aborted, second.aborted]).toEqual([true, false]);
    expect(script.service.snapshot().endpoints.map(({ failures }) => failures)).toEqual([1, 0, 0]);
    await script.clock.advance(50);
    expect(second.aborted).toBe(true);
    await script.clock.advance(100);
    script.last.answer();
    expect(caller).toMatchObject({ status: 200, ends: 1 });
    await script.service.close();
  });

  it('that is turned off leaves the call in flight its deadline', async () => {
    const script = new Script(3, { hedge: { delay: 50 }, timeout: { total: 1_000 } });
    const caller = script.call();
    await script.settle();
    script.last.send();
    script.update({ timeout: { total: 1_000 } });
    await script.clock.advance(1_010);
    expect(script.exchanges).toHaveLength(1);
    expect(caller.error).toMatchObject({ code: 'STEERSMAN_ERR_DEADLINE' });
    await script.service.close();
  });

  it('waits as long as the set shrinks to the endpoint it is at', async () => {
    const script = new Script(2, { hedge: { delay: 50 } });
    const caller = script.call();
    await script.settle();
    const first = script.last.send();
    script.resolver.set([first.endpoint]);
    await script.clock.advance(100);
    expect(script.exchanges).toHaveLength(1);
    first.head().end();
    expect(caller.status).toBe(200);
    await script.service.close();
  });

  it('waits for a percentile of the answers, once enough are known', async () => {
    const script = new Script(3, { hedge: { percentile: 0.9 } });
    await script.settle();
    for (let i = 0; i < 100; i++) {
      const caller = script.call();
      await script.clock.advance(i < 85 ? 10 : 40);
      script.last.answer();
      expect(caller.status).toBe(200);
    }
    expect(script.exchanges).toHaveLength(100);
    script.call();
    await script.clock.advance(35);
    expect(script.exchanges).toHaveLength(101);
    await script.clock.advance(20);
    expect(script.exchanges).toHaveLength(102);
    for (const exchange of script.exchanges) exchange.answer();
    await script.service.close();
  });
});

describe('Latencies', () => {
  it('knows percentiles to 10 %, of the last 10 to 20 s', () => {
    const latencies = new Latencies();
    const random = seeded(3);
    const sample = Array.from({ length: 5_000 }, () => 0.2 + 5 / (1 - random() * 0.999));
    let now = 0;
    for (const latency of sample) latencies.note(latency, (now += 1));
    const sorted = [...sample].sort((a, b) => a - b);
    for (const share of [0.5, 0.9, 0.95, 0.99]) {
      const exact = sorted[Math.floor(share * sorted.length)] as number;
      const known = latencies.percentile(share, now) as number;
      expect(known / exact).toBeGreaterThan(0.95);
      expect(known / exact).toBeLessThan(1.15);
    }
    expect(latencies.percentile(0.5, now + 30_000)).toBeUndefined();
  });

  it('says nothing of fewer than a hundred answers', () => {
    const latencies = new Latencies();
    for (let i = 0; i < 99; i++) latencies.note(5, 0);
    expect(latencies.percentile(0.95, 0)).toBeUndefined();
    latencies.note(1e9, 0);
    expect(latencies.percentile(0.95, 0)).toBeCloseTo(5, 0);
  });
});
