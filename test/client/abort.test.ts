import { getEventListeners } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { type Client, createClient } from '../../src/client/client.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { FakeTransport } from '../../src/testing/fake-transport.ts';
import { ok, onRequest, RawServer } from '../support/tcp.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

async function heap(): Promise<number> {
  for (let i = 0; i < 4; i++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage().heapUsed;
}

const ways: Record<string, (client: Client, signal: AbortSignal) => Promise<unknown>> = {
  request: async (client, signal) => (await client.request({ path: '/', signal })).body.dump(),
  fetch: async (client, signal) => (await client.fetch('/', { signal })).text(),
  pick: async (client, signal) => (await client.pick({ signal })).release(),
};

describe('one signal for many calls', () => {
  it.each(Object.keys(ways))(
    '%s: 100,000 of them leave no listener, no memory and no warning',
    { timeout: 120_000 },
    async (way) => {
      const warnings: Error[] = [];
      const onWarning = (warning: Error): number => warnings.push(warning);
      process.on('warning', onWarning);
      await using client = createClient('http://orders.shop', {
        resolver: new FakeResolver(['10.0.0.1:80', '10.0.0.2:80']),
        transport: plain(),
      });
      const { signal } = new AbortController();
      const once = ways[way] as (typeof ways)[string];
      const some = async (count: number): Promise<void> => {
        for (let i = 0; i < count; i += 10) {
          await Promise.all(Array.from({ length: 10 }, () => once(client, signal)));
          expect(getEventListeners(signal, 'abort').length).toBeLessThanOrEqual(10);
        }
      };
      await some(5_000);
      const before = await heap();
      await some(100_000);
      const grown = (await heap()) - before;
      expect(grown).toBeLessThan(2 * 1024 * 1024);
      expect(getEventListeners(signal, 'abort')).toEqual([]);
      await new Promise((resolve) => setImmediate(resolve));
      process.off('warning', onWarning);
      expect(warnings).toEqual([]);
    },
  );

  it('aborts calls in every phase, within a turn of the event loop, and blames nobody', async () => {
    let n = 0;
    await using server = await RawServer.start((socket, self) => {
      onRequest(socket, self, () => {
        // Never, in part, or whole.
        const phase = n++ % 3;
        if (phase === 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf');
        else if (phase === 2) setTimeout(() => socket.write(ok), 5);
      });
    });
    await using client = createClient('http://orders.shop', {
      resolver: new FakeResolver([server.endpoint]),
    });
    for (let round = 0; round < 50; round++) {
      const controller = new AbortController();
      const { signal } = controller;
      const reason = new Error('enough');
      let pending = 0;
      const settled = Array.from({ length: 20 }, async (_, i) => {
        pending++;
        const way = i % 2 === 0 ? 'request' : 'fetch';
        const result = await (async () => {
          if (way === 'fetch') return (await client.fetch('/', { signal })).text();
          return (await client.request({ path: '/', signal, method: 'POST', body: 'x' })).body.text();
        })().catch((error: unknown) => error);
        pending--;
        return result;
      });
      await new Promise((resolve) => setTimeout(resolve, round % 10));
      controller.abort(reason);
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
      expect(pending).toBe(0);
      for (const result of await Promise.all(settled)) expect(['ok', reason]).toContain(result);
      expect(getEventListeners(signal, 'abort')).toEqual([]);
    }
    expect(client.snapshot().endpoints[0]).toMatchObject({ failures: 0, circuit: 'closed', inflight: 0 });
  });

  it('aborted before the start sends nothing', async () => {
    const transport = new FakeTransport();
    await using client = createClient('http://orders.shop', {
      resolver: new FakeResolver(['10.0.0.1:80']),
      transport,
    });
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    for (const way of Object.values(ways)) await expect(way(client, signal)).rejects.toBe(reason);
    expect(transport.requests).toEqual([]);
  });
});

/** A transport that answers at once and keeps nothing. */
function plain(): FakeTransport {
  const transport = new FakeTransport();
  return ((service, endpoint) => {
    const dispatcher = transport(service, endpoint);
    return new Proxy(dispatcher, {
      get(target, key) {
        (transport.requests as unknown as unknown[]).length = 0;
        const value = Reflect.get(target, key, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }) as FakeTransport;
}
