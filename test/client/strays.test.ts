import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import type { AgentOptions } from '../../src/client/agent.ts';
import { createFetch, type Fetch } from '../../src/client/fetch.ts';
import { ResolveError } from '../../src/core/errors.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { FakeTransport } from '../../src/testing/fake-transport.ts';

const fetches: Fetch[] = [];

afterEach(() => Promise.all(fetches.splice(0).map((fetch) => fetch.close())));

function made(options: AgentOptions = { transport: new FakeTransport() }) {
  const clock = new FakeClock();
  const resolver = new FakeResolver();
  const fetch = createFetch({
    clock,
    resolver,
    services: { listed: {} },
    ...options,
  });
  fetches.push(fetch);
  const nobody = (host: string) => expect(fetch(`http://${host}/`)).rejects.toThrow('fetch failed');
  const known = () => fetch.snapshot().map(({ target }) => target);
  return { clock, resolver, fetch, nobody, known };
}

describe('a service without endpoints', () => {
  it('is forgotten, its watch too, when nobody has called it for a minute or two', async () => {
    const { clock, resolver, nobody, known } = made();
    resolver.fail(new ResolveError('no such name', 'x'));
    await nobody('once');
    await clock.advance(59_000);
    await nobody('twice');
    expect(known()).toEqual(['once', 'twice']);
    await clock.advance(60_000);
    await nobody('twice');
    await clock.advance(2_000);
    expect(known()).toEqual(['twice']);
    expect(resolver.watches).toBe(1);
    await clock.advance(180_000);
    expect([known(), resolver.watches]).toEqual([[], 0]);
    await nobody('once');
    expect(known()).toEqual(['once']);
  });

  it('is kept when it is listed', async () => {
    const { clock, resolver, nobody, known } = made();
    resolver.set([]);
    await nobody('listed');
    await clock.advance(300_000);
    expect(known()).toEqual(['listed']);
  });

  it('is kept while a call waits for them', async () => {
    const { clock, resolver, fetch, known } = made();
    fetch.update({ timeout: { resolve: 500_000, total: 500_000 } });
    const call = fetch('http://orders/');
    await clock.advance(300_000);
    expect(known()).toEqual(['orders']);
    resolver.set(['10.0.0.1:80']);
    expect((await call).status).toBe(200);
  });

  it('is kept while an upgraded connection is open', async () => {
    const server = createServer();
    const sockets = new WebSocketServer({ server });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { clock, resolver, fetch, known } = made({});
    resolver.set([`127.0.0.1:${(server.address() as AddressInfo).port}`]);
    const socket = new WebSocket('ws://orders/', { dispatcher: fetch.dispatcher } as never);
    await new Promise((resolve) => socket.addEventListener('open', resolve));
    resolver.set([]);
    await clock.advance(300_000);
    expect(known()).toEqual(['orders']);
    const closed = new Promise((resolve) => socket.addEventListener('close', resolve));
    socket.close();
    await closed;
    sockets.close();
    await new Promise((resolve) => server.close(resolve));
  });
});

it('a service with endpoints is kept however long nobody calls it', async () => {
  const { clock, resolver, fetch, known } = made();
  resolver.set(['10.0.0.1:80']);
  await (await fetch('http://orders/')).text();
  await clock.advance(3_600_000);
  expect(known()).toEqual(['orders']);
  expect(resolver.watches).toBe(1);
});
