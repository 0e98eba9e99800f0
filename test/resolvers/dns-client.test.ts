import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Client,
  createClient,
  type DnsOptions,
  dns,
  NoEndpointsError,
  ResolveError,
} from '../../src/index.ts';
import { DnsServer } from './support/dns-server.ts';

/** One service at one port of two loopback addresses, found by DNS. */
let server: DnsServer;
let pods: Server[];
let port: number;
let client: Client | undefined;

async function pod(address: string, at = 0): Promise<Server> {
  const pod = createServer((_, response) => response.end(address));
  pod.listen(at, address);
  await once(pod, 'listening');
  pods.push(pod);
  return pod;
}

function connect(options: DnsOptions = {}, host = 'orders.shop'): Client {
  const resolver = dns({
    servers: [server.address],
    search: [],
    allowLoopback: true,
    minTtl: 100,
    family: 4,
    ...options,
  });
  client = createClient(`http://${host}:${port}`, { resolver });
  return client;
}

async function get(from: Client): Promise<string> {
  const { body } = await from.request({ path: '/', method: 'GET' });
  return body.text();
}

/** Calls without a pause until `n` more rounds of questions have been asked; returns how many were answered. */
async function callThrough(from: Client, n: number): Promise<number> {
  const { length } = server.asked;
  let answered = 0;
  while (server.asked.length < length + n) {
    await get(from);
    answered++;
  }
  return answered;
}

beforeEach(async () => {
  server = await DnsServer.start();
  pods = [];
  const first = await pod('127.0.0.1');
  port = (first.address() as { port: number }).port;
  await pod('127.0.0.2', port);
  server.addresses('orders.shop', ['127.0.0.1', '127.0.0.2'], 0);
});

afterEach(async () => {
  await client?.close();
  client = undefined;
  for (const one of pods) one.closeAllConnections();
  await Promise.all(pods.map((one) => one.close()));
  await server.close();
});

describe('a client that asks DNS', () => {
  it.each(['SERVFAIL', 'REFUSED', 'garbage', 'drop'] as const)(
    'fails no call while DNS says %s',
    async (reply) => {
      const orders = connect({ deadline: 200 });
      await get(orders);
      server.fail('orders.shop', reply);
      const stale = Promise.withResolvers<void>();
      orders.on('stale', () => stale.resolve());
      let answered = await callThrough(orders, 1);
      await stale.promise;
      for (let i = 0; i < 100; i++) {
        await get(orders);
        answered++;
      }
      expect(answered).toBeGreaterThan(100);
      expect(orders.snapshot().endpoints).toHaveLength(2);
    },
  );

  it('fails no call for a single NXDOMAIN', async () => {
    const orders = connect();
    await get(orders);
    let replies = 0;
    server.on('orders.shop', 'A', () => {
      if (replies++ === 0) return 'NXDOMAIN';
      return [{ name: 'orders.shop', type: 'A', ttl: 0, data: '127.0.0.2' }];
    });
    await callThrough(orders, 3);
    expect(orders.snapshot().endpoints).toHaveLength(1);
  });

  it('says within 5 ms that there are no endpoints once the name is gone, and serves again when it is back', async () => {
    const orders = connect();
    await get(orders);
    server.fail('orders.shop', 'NXDOMAIN');
    const empty = Promise.withResolvers<void>();
    orders.on('endpoints', () => empty.resolve());
    await empty.promise;
    const times: number[] = [];
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      await expect(get(orders)).rejects.toBeInstanceOf(NoEndpointsError);
      times.push(performance.now() - start);
    }
    expect(times.toSorted((a, b) => a - b)[10]).toBeLessThan(5);
    const back = Promise.withResolvers<void>();
    orders.on('endpoints', () => back.resolve());
    server.addresses('orders.shop', ['127.0.0.2'], 0);
    await back.promise;
    expect(await get(orders)).toBe('127.0.0.2');
  });

  it('says at once that a name does not exist', async () => {
    const error = await get(connect({}, 'nowhere.shop')).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(ResolveError);
    expect((error as ResolveError).cause).toMatchObject({ code: 'ENOTFOUND' });
    expect((error as ResolveError).message).toContain('nowhere.shop. (A: ENOTFOUND)');
  });

  it('waits for a nameserver that is not well at first', async () => {
    server.fail('orders.shop', 'SERVFAIL');
    const orders = connect();
    const answer = get(orders);
    const failed = Promise.withResolvers<void>();
    orders.on('error', () => failed.resolve());
    await failed.promise;
    server.addresses('orders.shop', ['127.0.0.2'], 0);
    expect(await answer).toBe('127.0.0.2');
  });

  it('asks again soon after connections have failed, whatever the TTL', async () => {
    server.addresses('orders.shop', ['127.0.0.1'], 3_600);
    const orders = connect();
    await get(orders);
    const [first] = pods;
    first?.close();
    first?.closeAllConnections();
    server.addresses('orders.shop', ['127.0.0.2'], 3_600);
    const moved = Promise.withResolvers<void>();
    orders.on('endpoints', () => moved.resolve());
    const start = performance.now();
    await get(orders).catch(() => {});
    await moved.promise;
    // A second after the last question, a tenth more or less; the TTL would have been 30 s.
    expect(performance.now() - start).toBeLessThan(5_000);
    expect(await get(orders)).toBe('127.0.0.2');
  });
});
