import { readFile } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createClient } from '../../src/client/client.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { PodProcess } from '../support/pod-process.ts';
import { inOrder } from '../support/script.ts';

/** Phases of the event loop in which an app may compute for too long. */
const phases: Record<string, (block: () => void) => void> = {
  timers: (block) => void setTimeout(block, 0),
  poll: (block) => readFile(import.meta.filename, block),
  check: (block) => void setImmediate(block),
};

function busy(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

describe('an event loop that was blocked by the app itself', () => {
  it.each(Object.keys(phases).flatMap((phase) => [1_000, 5_000].map((ms) => ({ phase, ms }))))(
    'for $ms ms in the $phase phase times nothing out, and ejects nobody',
    { timeout: 30_000 },
    async ({ phase, ms }) => {
      await using pod = await PodProcess.start({ kind: 'http', work: 100 });
      await using other = await PodProcess.start({ kind: 'http', work: 100 });
      await using client = createClient('http://orders.shop', {
        resolver: new FakeResolver([pod.endpoint, other.endpoint]),
        timeout: { attempt: 400, total: 800, connect: 300 },
        retry: false,
        circuit: { endpoint: { consecutive: 1 } },
      });
      const ejected: unknown[] = [];
      client.on('ejected', (event) => ejected.push(event));
      const call = async (method: 'GET' | 'POST'): Promise<string> => {
        const { body } = await client.request({ path: '/', method });
        return body.text();
      };
      // Connections for half of the calls: the others connect while the loop is blocked.
      await Promise.all(Array.from({ length: 10 }, () => call('GET')));
      const calls = Array.from({ length: 20 }, (_, i) => call(i % 2 === 0 ? 'GET' : 'POST'));
      phases[phase]?.(() => busy(ms));
      expect(await Promise.all(calls)).toEqual(Array(20).fill('ok'));
      expect(ejected).toEqual([]);
    },
  );

  it('leaves time for another attempt, though the total has passed meanwhile', async () => {
    await using mute = await PodProcess.start({ kind: 'http', work: 60_000 });
    await using good = await PodProcess.start({ kind: 'http', work: 50 });
    await using client = createClient('http://orders.shop', {
      resolver: new FakeResolver([mute.endpoint, good.endpoint]),
      balancer: inOrder,
      timeout: { attempt: 600, total: 2_000 },
    });
    await client.ready();
    const call = client.request('/');
    // The first attempt has until 2,200: it gets back 600 of the 1,000 that its timer is late.
    setImmediate(() => busy(1_600));
    expect(await (await call).body.text()).toBe('ok');
  });

  it('does not hide a server that has really not answered', async () => {
    await using pod = await PodProcess.start({ kind: 'http', work: 60_000 });
    await using client = createClient('http://orders.shop', {
      resolver: new FakeResolver([pod.endpoint]),
      timeout: { attempt: 100 },
      retry: false,
    });
    const call = client.request({ path: '/', method: 'POST' });
    setImmediate(() => busy(300));
    await expect(call).rejects.toMatchObject({ code: 'UND_ERR_HEADERS_TIMEOUT' });
    expect(client.snapshot().endpoints[0]).toMatchObject({ circuit: 'closed', failures: 0 });
  });
});
