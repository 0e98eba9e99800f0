import { once } from 'node:events';
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

const cases: Readonly<Record<string, Case>> = {
  'a text': text('/ok?a=1#fragment'),
  'a POST': text('/ok', { method: 'POST', body: 'abc' }),
  'a status of 500': text('/500'),
  'a compressed body': text('/gzip'),
  'a redirect': text('/redirect'),
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
  'a clone of which both are read': async (fetch, base) => {
    const response = await fetch(`${base}/ok`);
    return Promise.all([response.clone().text(), response.text()]);
  },
};

let server: Server;
let base: string;

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
    expect(times).toEqual(times.toSorted((a, b) => Number(a) - Number(b)));
    expect(duration).toBeCloseTo(Number(responseEnd) - Number(startTime));
    for (const [key, value] of Object.entries(rest)) {
      if (value === startTime) rest[key] = 'start';
      else if (value === responseStart && value !== 0) rest[key] = 'the answer';
      else if (value === said['redirectEnd'] && value !== 0) rest[key] = 'after the redirect';
    }
    return rest;
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

  it('says nothing of a body that nobody has read to its end, nor of a call that failed', async () => {
    const fetch = plainFetch(() => []);
    performance.clearResourceTimings();
    const unread = await fetch(`${base}/ok`);
    const reader = (await fetch(`${base}/ok`)).body?.getReader();
    await reader?.read();
    await expect(fetch(`http://${serviceHost}:1234567/`)).rejects.toThrow(TypeError);
    await expect(fetch(base, { signal: AbortSignal.abort() })).rejects.toThrow('aborted');
    expect(performance.getEntriesByType('resource')).toEqual([]);
    await Promise.all([unread.text(), reader?.read()]);
    await (fetch as unknown as AsyncDisposable)[Symbol.asyncDispose]();
  });
});
