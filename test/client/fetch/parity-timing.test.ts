import { EventEmitter, once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { performance } from 'node:perf_hooks';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Fetching } from './support/observe.ts';
import { loopbackNames, plainFetch, platform, serviceHost } from './support/parity.ts';

type Case = (fetch: Fetching, base: string) => Promise<unknown>;

const text: (path: string, init?: RequestInit) => Case = (path, init) => async (fetch, base) =>
  (await fetch(base + path, init)).text();

const failing =
  (path: string, init?: () => object): Case =>
  (fetch, base) =>
    expect(fetch(base + path, init?.())).rejects.toThrow();

const happened = new EventEmitter();

function abortedAtArrival(reason?: Error): AbortSignal {
  const controller = new AbortController();
  happened.once('arrived', () => controller.abort(reason));
  return controller.signal;
}

const cases: Readonly<Record<string, Case>> = {
  'a text': text('/ok?a=1#fragment'),
  'a POST': text('/ok', { method: 'POST', body: 'abc' }),
  'a status of 500': text('/500'),
  'a compressed body': text('/gzip'),
  'a redirect': text('/redirect'),
  'an answer of a server that is not responsible': text('/421'),
  'a redirect that is not followed': text('/redirect', { redirect: 'manual' }),
  HEAD: (fetch, base) => fetch(`${base}/ok`, { method: 'HEAD' }),
  'an answer without a body': (fetch, base) => fetch(`${base}/204`),
  'a body in pieces': async (fetch, base) => {
    for await (const _ of (await fetch(`${base}/pieces`)).body as ReadableStream<Uint8Array>);
  },
  'a body that is given up': async (fetch, base) => (await fetch(`${base}/endless`)).body?.cancel(),
  'an abort after the headers': async (fetch, base) => {
    const controller = new AbortController();
    const response = await fetch(`${base}/endless`, { signal: controller.signal });
    controller.abort();
    await response.text().catch(() => {});
  },
  'a body that is cut off': async (fetch, base) => (await fetch(`${base}/cut`)).text().catch(() => {}),
  'a connection that is cut before an answer': failing('/reset'),
  'an answer that is none': failing('/407'),
  'a redirect that is an error': failing('/redirect', () => ({ redirect: 'error' })),
  'a redirect to where fetch does not go': failing('/redirect-away'),
  'an abort with an error, before the answer': failing('/never', () => ({
    signal: abortedAtArrival(new Error('mine')),
  })),
  'a request body that fails': failing('/ok', () => ({
    method: 'POST',
    duplex: 'half',
    body: new ReadableStream({ start: (c) => c.error(new Error('source failed')) }),
  })),
  'a clone of which both are read': async (fetch, base) => {
    const response = await fetch(`${base}/ok`);
    return Promise.all([response.clone().text(), response.text()]);
  },
};

let server: Server;
let base: string;
/** Nobody listens at it. */
let vacantPort: number;

beforeAll(async () => {
  loopbackNames();
  server = createServer((request, response) => {
    switch (request.url) {
      case '/204':
        return void response.writeHead(204).end();
      case '/500':
        return void response.writeHead(500).end('error');
      case '/gzip':
        return void response.setHeader('content-encoding', 'gzip').end(gzipSync('x'.repeat(1_000)));
      case '/407':
        return void response.writeHead(407).end('no');
      case '/421':
        return void response.writeHead(421).end('elsewhere');
      case '/reset':
        return void request.socket.destroy();
      case '/never':
        return void happened.emit('arrived');
      case '/redirect-away':
        return void response.writeHead(302, { location: 'ftp://elsewhere/' }).end('moved');
      case '/redirect':
        return void response.writeHead(302, { location: '/ok' }).end('moved');
      case '/pieces':
        response.write('one');
        return void setImmediate(() => response.end('two'));
      case '/endless':
        return void response.write('a');
      case '/cut':
        response.write('a');
        return void setImmediate(() => request.socket.destroy());
      default:
        return void response.end('hello');
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  base = `http://${serviceHost}:${(server.address() as AddressInfo).port}`;
  const vacant = createServer().listen(0, '127.0.0.1');
  await once(vacant, 'listening');
  vacantPort = (vacant.address() as AddressInfo).port;
  vacant.close();
});

afterAll(() => {
  vi.restoreAllMocks();
  server.closeAllConnections();
  server.close();
});

/** What the timeline says of a case, with times as what they are relative to each other. */
async function entries(run: Case, fetch: Fetching): Promise<unknown[]> {
  performance.clearResourceTimings();
  await run(fetch, base);
  await vi.waitFor(() => expect(performance.getEntriesByType('resource')).not.toEqual([]));
  return performance.getEntriesByType('resource').map((entry) => {
    const said = entry.toJSON() as Record<string, number | string>;
    const { startTime, duration, requestStart, responseStart, responseEnd, ...rest } = said;
    const times = [startTime, rest['redirectEnd'] || startTime, requestStart, responseStart, responseEnd];
    const known = times.filter((time) => time !== 0);
    expect(known).toEqual(known.toSorted((a, b) => Number(a) - Number(b)));
    expect(duration).toBeCloseTo(Number(responseEnd) - Number(startTime));
    for (const [key, value] of Object.entries(rest)) {
      if (value === startTime) rest[key] = 'start';
      else if (value === responseStart && value !== 0) rest[key] = 'the answer';
      else if (value === said['redirectEnd'] && value !== 0) rest[key] = 'after the redirect';
    }
    return { ...rest, answered: responseStart !== 0 };
  });
}

describe('the performance timeline', () => {
  it.each(Object.entries(cases))('says the same of %s as after the platform’s fetch', async (_, run) => {
    const fetch = plainFetch(() => []);
    const [theirs, ours] = [await entries(run, platform), await entries(run, fetch)];
    expect(ours).toEqual(theirs);
    expect(ours).toHaveLength(1);
    await (fetch as unknown as AsyncDisposable)[Symbol.asyncDispose]();
  });

  // The platform also leaves out the times of a connection that there never was.
  it('says that a server was not there', async () => {
    const said = async (fetch: Fetching): Promise<unknown> => {
      performance.clearResourceTimings();
      await expect(fetch(`http://${serviceHost}:${vacantPort}/`)).rejects.toThrow('fetch failed');
      await vi.waitFor(() => expect(performance.getEntriesByType('resource')).toHaveLength(1));
      const entry = performance.getEntriesByType('resource')[0]?.toJSON() as Record<string, unknown>;
      const { name, initiatorType, transferSize, responseStart, responseStatus } = entry;
      return { name, initiatorType, transferSize, responseStart, responseStatus };
    };
    const fetch = plainFetch(() => []);
    const theirs = await said(platform);
    expect(await said(fetch)).toEqual(theirs);
    await (fetch as unknown as AsyncDisposable)[Symbol.asyncDispose]();
  });

  it('says nothing of a body that nobody has read to its end, nor of one that was aborted, or was none', async () => {
    const fetch = plainFetch(() => []);
    performance.clearResourceTimings();
    const unread = await fetch(`${base}/ok`);
    const reader = (await fetch(`${base}/ok`)).body?.getReader();
    await reader?.read();
    await expect(fetch(`http://${serviceHost}:1234567/`)).rejects.toThrow(TypeError);
    await expect(fetch(base, { signal: AbortSignal.abort() })).rejects.toThrow('aborted');
    await expect(fetch(`${base}/never`, { signal: abortedAtArrival() })).rejects.toThrow('aborted');
    expect(performance.getEntriesByType('resource')).toEqual([]);
    await Promise.all([unread.text(), reader?.read()]);
    await (fetch as unknown as AsyncDisposable)[Symbol.asyncDispose]();
  });
});
