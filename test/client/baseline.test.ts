import { getEventListeners } from 'node:events';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { afterAll, describe, expect, it } from 'vitest';
import { type Client, createClient } from '../../src/client/client.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { ok, onRequest, RawServer } from '../support/tcp.ts';

const flood = 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(50);
const year = 'HTTP/1.1 503 Busy\r\nretry-after: 31536000\r\ncontent-length: 0\r\n\r\n';

/** Servers as they should not be: what they do with a request. */
const servers: Readonly<Record<string, (socket: Socket) => void>> = {
  'never answers': () => {},
  'answers twice': (socket) => socket.write(ok + ok),
  'answers a hundred times': (socket) => socket.write(ok.repeat(100)),
  'sends interim responses without end': (socket) => {
    const timer = setInterval(() => socket.write(flood), 2);
    socket.once('close', () => clearInterval(timer));
  },
  'asks to come back in a year': (socket) => socket.write(year),
  'sends half a head': (socket) => socket.write('HTTP/1.1 200 OK\r\nx: '),
  'sends half a body and hangs': (socket) =>
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'),
  'sends half a body and ends': (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'),
  'sends a body without end': (socket) => {
    const timer = setInterval(() => socket.write('1\r\nx\r\n'), 2);
    socket.once('close', () => clearInterval(timer));
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
  },
  'sends nonsense': (socket) => socket.write('no HTTP\r\n\r\n'),
  resets: (socket) => socket.resetAndDestroy(),
  ends: (socket) => socket.end(),
  'upgrades unasked': (socket) =>
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
};

const thrown = new Error('the body threw');
async function* throwing(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('some');
  throw thrown;
}

type Way = (client: Client, signal: AbortSignal) => Promise<unknown>;

/** Calls that are read to their end, and calls whose bodies throw. */
const ways: Readonly<Record<string, Way>> = {
  'a GET': async (client, signal) => (await client.request({ path: '/', signal })).body.text(),
  'a POST': async (client, signal) =>
    (await client.request({ path: '/', method: 'POST', body: 'x', signal })).body.text(),
  'a fetch': async (client, signal) => (await client.fetch('/', { signal })).text(),
  'a generator that throws': async (client, signal) =>
    (await client.request({ path: '/', method: 'POST', body: throwing(), signal })).body.text(),
  'a stream that fails': async (client, signal) =>
    (
      await client.request({ path: '/', method: 'POST', body: Readable.from(throwing()), signal })
    ).body.text(),
  'a fetch with a stream that fails': async (client, signal) =>
    (
      await client.fetch('/', {
        method: 'POST',
        body: ReadableStream.from(throwing()) as ReadableStream<Uint8Array<ArrayBuffer>>,
        duplex: 'half',
        signal,
      } as RequestInit)
    ).text(),
};

const total = 200;
/** What the caller does about bodies that do not come, or do not end. */
const patience = 500;
/** Sockets that are open or being made, and timers and other handles that keep the process alive. */
const held = (): Record<string, number> => {
  const count: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) count[kind] = (count[kind] ?? 0) + 1;
  return { sockets: count.TCPSocketWrap ?? 0, connecting: count.ConnectWrap ?? 0 };
};

const before = held();
const troubles: string[] = [];
const onWarning = (warning: Error): number => troubles.push(String(warning));
const onRejection = (reason: unknown): number => troubles.push(`unhandled: ${String(reason)}`);
process.on('warning', onWarning);
process.on('unhandledRejection', onRejection);
afterAll(() => {
  process.off('warning', onWarning);
  process.off('unhandledRejection', onRejection);
  expect(troubles).toEqual([]);
});

describe('a server that', () => {
  it.each(Object.keys(servers))('%s: every call ends, and nothing is left', async (name) => {
    const conduct = servers[name] as (socket: Socket) => void;
    const play = async ([what, way]: [string, Way]): Promise<void> => {
      await using server = await RawServer.start((socket, self) => {
        // Answered at the head: a body that throws has no end.
        socket.once('data', () => name !== 'never answers' && what.includes('fail') && conduct(socket));
        onRequest(socket, self, () => conduct(socket));
      });
      const client = createClient('http://orders.shop', {
        resolver: new FakeResolver([server.endpoint]),
        timeout: { total },
        pool: { drainTimeout: 100 },
      });
      const controllers = Array.from({ length: 4 }, () => new AbortController());
      const results = controllers.map(async (controller) => {
        const timer = setTimeout(() => controller.abort(new Error('patience')), patience);
        const result = await way(client, controller.signal).then(
          () => 'ok',
          (error: unknown) => (error instanceof Error ? 'error' : 'strange'),
        );
        clearTimeout(timer);
        return result;
      });
      for (const result of await Promise.all(results)) {
        expect(result, what).not.toBe('strange');
        if (/throws|fails/.test(what)) expect(result, what).toBe('error');
      }
      expect(client.snapshot().endpoints[0]?.inflight, what).toBe(0);
      await client.close();
      await expect.poll(() => server.open).toBe(0);
      const listening = controllers.filter(({ signal }) => getEventListeners(signal, 'abort').length > 0);
      expect(listening, what).toEqual([]);
    };
    await Promise.all(Object.entries(ways).map(play));
    await expect.poll(held).toEqual(before);
  });
});

it('a signal that was aborted before the call: nothing is sent, resolved or left', async () => {
  await using server = await RawServer.start((socket, self) =>
    onRequest(socket, self, () => socket.write(ok)),
  );
  await using client = createClient('http://orders.shop', { resolver: new FakeResolver([server.endpoint]) });
  const reason = new Error('too late');
  const signal = AbortSignal.abort(reason);
  for (const [what, way] of Object.entries(ways))
    await expect(way(client, signal), what).rejects.toBe(reason);
  await expect(client.pick({ signal })).rejects.toBe(reason);
  await expect(client.ready({ signal })).rejects.toBe(reason);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
  expect(server.connections).toBe(0);
});
