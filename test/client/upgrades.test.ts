import { once } from 'node:events';
import { createServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocket as UndiciWebSocket } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import { createClient } from '../../src/client/client.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { endpoint } from '../../src/testing/values.ts';
import { ca, identity } from '../support/tls.ts';

let port: number;
const held = new Set<Duplex>();
const server = createServer();

beforeAll(async () => {
  server.on('upgrade', (_, socket: Duplex) => {
    held.add(socket);
    socket.on('error', () => {}).on('data', (chunk) => socket.write(chunk));
    socket.once('close', () => held.delete(socket));
    socket.once('end', () => socket.end());
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});

afterAll(() => server.close());

describe('an upgraded connection', () => {
  async function upgraded(drainTimeout: number) {
    const clock = new FakeClock();
    const client = createClient('http://orders', {
      resolver: new FakeResolver([endpoint(`127.0.0.1:${port}`)]),
      balancer: roundRobin(),
      pool: { drainTimeout },
      clock,
    });
    const { socket } = await client.dispatcher.upgrade({ path: '/', protocol: 'echo' });
    const echo = async (text: string): Promise<string> => {
      socket.write(text);
      const [chunk] = await once(socket, 'data');
      return String(chunk);
    };
    expect(await echo('a')).toBe('a');
    return { clock, client, socket, echo };
  }

  it('goes on while its client closes, and is cut after the drain timeout', async () => {
    const { clock, client, socket, echo } = await upgraded(2_000);
    let closed = false;
    const closing = client.close().then(() => {
      closed = true;
    });
    await clock.advance(1_999);
    expect(await echo('b')).toBe('b');
    expect(closed).toBe(false);
    await clock.advance(1);
    await closing;
    expect(socket.destroyed).toBe(true);
    await expect.poll(() => held.size).toBe(0);
    expect(clock.pending).toBe(0);
  });

  it('that ends by itself lets its client close', async () => {
    const { clock, client, socket } = await upgraded(2_000);
    const closing = client.close();
    await clock.advance(10);
    socket.end();
    await closing;
    expect(clock.pending).toBe(0);
    await expect.poll(() => held.size).toBe(0);
  });

  it('is cut at once where nothing is to be drained, or the client is destroyed', async () => {
    const { clock, client, socket } = await upgraded(0);
    const closing = client.close();
    await clock.advance(0);
    await clock.advance(0);
    await closing;
    expect(socket.destroyed).toBe(true);
    const other = await upgraded(Number.POSITIVE_INFINITY);
    await other.client.dispatcher.destroy();
    expect(other.socket.destroyed).toBe(true);
    await expect.poll(() => held.size).toBe(0);
  });

  it('is no concern of a client whose drain has no limit', async () => {
    const { clock, client, socket, echo } = await upgraded(Number.POSITIVE_INFINITY);
    const closing = client.close();
    await clock.advance(1_000_000);
    expect(await echo('still')).toBe('still');
    socket.destroy();
    await closing;
  });
});

it.each([
  ['the platform’s', WebSocket],
  ['undici’s', UndiciWebSocket],
])('a WebSocket, %s, is HTTP/1.1 where calls are HTTP/2, and tells of its connections', async (_, Socket) => {
  const versions: string[] = [];
  const secure = createSecureServer({ ...identity('orders'), allowHTTP1: true }, (request, response) => {
    versions.push(request.httpVersion);
    response.end();
  });
  const sockets = new WebSocketServer({ server: secure as never });
  sockets.on('connection', (_socket, request) => versions.push(request.httpVersion));
  secure.listen(0, '127.0.0.1');
  await once(secure, 'listening');
  const client = createClient('https://orders.shop', {
    resolver: new FakeResolver([`127.0.0.1:${(secure.address() as AddressInfo).port}`]),
    tls: { ca },
    pool: { allowH2: true, drainTimeout: 0 },
  });
  const connections: number[] = [];
  client.dispatcher.on('connect', (_origin, targets) => connections.push(targets.length));
  await (await client.request('/')).body.dump();
  const socket = new Socket('wss://orders.shop/', { dispatcher: client.dispatcher } as never);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  await (await client.request('/')).body.dump();
  expect(versions).toEqual(['2.0', '1.1', '2.0']);
  expect(connections).toEqual([4, 4]);
  expect(client.snapshot().endpoints).toMatchObject([{ calls: 3, failures: 0, inflight: 1 }]);
  const closed = new Promise((resolve) => {
    socket.onerror = () => {};
    socket.onclose = resolve;
  });
  await client.close();
  await closed;
  sockets.close();
  await new Promise((resolve) => secure.close(resolve));
});
