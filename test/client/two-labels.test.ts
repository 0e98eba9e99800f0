import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ServiceAgent } from '../../src/client/agent.ts';
import { createFetch } from '../../src/client/fetch.ts';
import { fixed } from '../../src/resolvers/fixed.ts';

let answer: (exists: boolean) => void;
vi.mock('../../src/resolvers/dns/existence.ts', () => ({
  existence: () => () =>
    new Promise<boolean>((resolve) => {
      answer = resolve;
    }),
}));

let server: Server;
let port: number;
let others: Dispatcher;
beforeAll(async () => {
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    response.end(`${request.headers['x-turn']} ${Buffer.concat(chunks)}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
  others = new Agent().compose(
    (dispatch) => (options, handler) => dispatch({ ...options, origin: `http://127.0.0.1:${port}` }, handler),
  );
});
afterAll(async () => {
  await others.close();
  server.close();
});
beforeEach(() => vi.stubEnv('KUBERNETES_SERVICE_HOST', '10.0.0.1'));
afterEach(() => vi.unstubAllEnvs());

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a call that waits until DNS has said whether its host is a service', () => {
  it('is what it was when it was made', async () => {
    await using agent = new ServiceAgent({ resolver: fixed([`127.0.0.1:${port}`]) });
    const headers: Record<string, string> = { 'x-turn': 'first' };
    const pending = agent.request({
      origin: 'http://orders.shop',
      path: '/',
      method: 'POST',
      body: 'all',
      headers,
    });
    headers['x-turn'] = 'second';
    answer(true);
    expect(await (await pending).body.text()).toBe('first all');
  });

  /** What becomes of a call whose body fails while it waits. */
  async function failed(exists: boolean, call: (body: PassThrough) => Promise<unknown>): Promise<unknown> {
    const body = new PassThrough();
    const pending = call(body).catch((error: unknown) => error);
    body.destroy(failure);
    await turn();
    answer(exists);
    return pending;
  }

  const failure = new Error('file gone');
  const post = { origin: 'http://orders.shop', path: '/', method: 'POST' } as const;

  it.each([true, false])('fails with its body, and not the process: a service: %s', async (exists) => {
    await using agent = new ServiceAgent({ resolver: fixed([`127.0.0.1:${port}`]), otherwise: others });
    expect(await failed(exists, (body) => agent.request({ ...post, body }))).toBe(failure);
  });

  it('fails with its body, and not the process: by fetch', async () => {
    await using fetch = createFetch({ resolver: fixed([`127.0.0.1:${port}`]), otherwise: others });
    const send = (host: string) => (body: PassThrough) =>
      fetch(`http://${host}/`, { method: 'POST', body, duplex: 'half' } as unknown as RequestInit);
    expect(await failed(true, send('orders.shop'))).toMatchObject({
      message: 'fetch failed',
      cause: failure,
    });
    // As the platform says of a stream that has ended.
    expect(await failed(false, send('example.com'))).toBeInstanceOf(TypeError);
  });

  it('is what it was when it was made: by fetch', async () => {
    await using fetch = createFetch({ resolver: fixed([`127.0.0.1:${port}`]) });
    const headers: Record<string, string> = { 'x-turn': 'first' };
    const pending = fetch('http://orders.shop/', { method: 'POST', body: 'all', headers });
    headers['x-turn'] = 'second';
    answer(true);
    expect(await (await pending).text()).toBe('first all');
  });

  it('is told that its fetch was closed meanwhile, and close() waits for that', async () => {
    const fetch = createFetch({ resolver: fixed([`127.0.0.1:${port}`]) });
    const pending = fetch('http://orders.shop/').catch((error: unknown) => error);
    let closed = false;
    const closing = fetch.close().then(() => {
      closed = true;
    });
    await turn();
    expect(closed).toBe(false);
    answer(true);
    await closing;
    expect(await pending).toMatchObject({ code: 'STEERSMAN_ERR_CLOSED' });
    expect(fetch.snapshot()).toHaveLength(1);
  });
});
