import { type EventEmitter, once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Dispatcher, interceptors, RetryAgent, FormData as UndiciForm } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { ServiceAgent } from '../../src/client/agent.ts';
import { createClient } from '../../src/client/client.ts';
import { fixed } from '../../src/resolvers/fixed.ts';

interface Served {
  readonly dispatcher: Dispatcher;
  readonly origin: string;
}

const servers: Server[] = [];
const dispatchers: Dispatcher[] = [];

afterEach(async () => {
  await Promise.all(dispatchers.splice(0).map((dispatcher) => dispatcher.destroy()));
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

let failures = 0;

async function serve(): Promise<string> {
  failures = 0;
  const server = createServer((request, response) => {
    if (request.url === '/hang') {
      server.emit('hanging');
      return;
    }
    if (request.url === '/failing') {
      failures++;
      response.statusCode = 503;
    }
    if (request.url === '/moved') response.writeHead(302, { location: '/' });
    request.pipe(response);
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const origin = 'http://orders';
const ways: Readonly<Record<string, (address: string) => Dispatcher>> = {
  ServiceAgent: (address) => new ServiceAgent({ resolver: fixed([address]), retry: false }),
  'client.dispatcher': (address) =>
    createClient(origin, { resolver: fixed([address]), retry: false }).dispatcher,
};

describe.each(Object.keys(ways))('%s', (way) => {
  const served = async (): Promise<Served> => {
    const dispatcher = (ways[way] as (address: string) => Dispatcher)(await serve());
    dispatchers.push(dispatcher);
    return { dispatcher, origin };
  };
  const call = async (dispatcher: Dispatcher, path = '/'): Promise<number> => {
    const { statusCode, body } = await dispatcher.request({ origin, path, method: 'GET' });
    await body.dump();
    return statusCode;
  };
  it('is closed as undici’s are: says so, waits, and calls back', async () => {
    const { dispatcher } = await served();
    const state = dispatcher as Dispatcher & { closed: boolean; destroyed: boolean };
    await call(dispatcher);
    expect([state.closed, state.destroyed]).toEqual([false, false]);
    const closing = new Promise<unknown[]>((resolve) =>
      dispatcher.close((...args: unknown[]) => resolve(args)),
    );
    expect([state.closed, state.destroyed]).toEqual([true, false]);
    expect(await closing).toEqual([null, null]);
    expect([state.closed, state.destroyed]).toEqual([true, true]);
    await dispatcher.close();
    await dispatcher.destroy();
  });

  it.each(['close', 'destroy'] as const)('refuses to %s with a callback that is none', async (method) => {
    const { dispatcher } = await served();
    const wrong = () => (dispatcher[method] as (callback: unknown, second?: unknown) => void)(5, 5);
    expect(wrong).toThrow('invalid callback');
  });

  it('destroy() ends calls with the error it is given', async () => {
    const { dispatcher } = await served();
    const arrived = once(servers[0] as Server, 'hanging');
    const failed = dispatcher.request({ origin, path: '/hang', method: 'POST' }).catch((reason) => reason);
    await arrived;
    await new Promise<void>((resolve) => dispatcher.destroy(new Error('enough'), resolve));
    expect(await failed).toMatchObject({ message: 'enough' });
  });

  it('destroy() has ended every call when it is done', async () => {
    const { dispatcher } = await served();
    const order: string[] = [];
    const calls = [1, 2].map(() =>
      dispatcher.request({ origin, path: '/hang', method: 'POST' }).catch(() => order.push('call')),
    );
    await once(servers[0] as Server, 'hanging');
    await new Promise<void>((resolve) => dispatcher.destroy(resolve));
    order.push('destroyed');
    await Promise.all(calls);
    expect(order).toEqual(['call', 'call', 'destroyed']);
  });

  it('destroy() ends calls that have not even begun', async () => {
    const { dispatcher } = await served();
    const failed = dispatcher.request({ origin, path: '/hang', method: 'GET' }).catch((reason) => reason);
    await dispatcher.destroy();
    expect((await failed).code).toMatch(/^(UND_ERR_DESTROYED|STEERSMAN_ERR_CLOSED)$/);
  });

  it('tells of its connections', async () => {
    const { dispatcher } = await served();
    const told: unknown[] = [];
    for (const event of ['connect', 'disconnect'] as const) {
      (dispatcher as EventEmitter).on(event, (at: URL, targets: readonly Dispatcher[]) =>
        told.push([event, at.origin, targets[0] === dispatcher, targets.length]),
      );
    }
    await call(dispatcher);
    await dispatcher.close();
    expect(told).toEqual([
      ['connect', origin, true, 3],
      ['disconnect', origin, true, 3],
    ]);
  });

  it('tells of connections that could not be made', async () => {
    const { dispatcher } = await served();
    const [server] = servers.splice(0);
    await new Promise((resolve) => server?.close(resolve));
    const told = once(dispatcher, 'connectionError');
    await expect(call(dispatcher)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect((await told)[2]).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('may be composed, and then still be closed', async () => {
    const { dispatcher } = await served();
    const composed = dispatcher.compose(interceptors.dump());
    expect(await call(composed)).toBe(200);
    await composed.close();
    expect((dispatcher as Dispatcher & { closed: boolean }).closed).toBe(true);
  });

  it('ends with the answer that undici’s retry interceptor gives up with', async () => {
    const { dispatcher } = await served();
    const composed = dispatcher.compose(interceptors.retry({ maxRetries: 2, minTimeout: 1, maxTimeout: 1 }));
    await expect(call(composed, '/failing')).rejects.toMatchObject({ statusCode: 503 });
    expect(failures).toBe(3);
  });

  it('serves undici’s RetryAgent', async () => {
    const { dispatcher } = await served();
    const retrying = new RetryAgent(dispatcher, { maxRetries: 1, minTimeout: 1, maxTimeout: 1 });
    await expect(call(retrying, '/failing')).rejects.toMatchObject({ statusCode: 503 });
    expect(failures).toBe(2);
  });

  it('tells a handler that throws at the end of a response of its own error', async () => {
    const { dispatcher } = await served();
    const heard = new Promise((resolve) => {
      dispatcher.dispatch(
        { origin, path: '/', method: 'GET' },
        {
          onRequestStart() {},
          onResponseStart() {},
          onResponseData() {},
          onResponseEnd() {
            throw new Error('too late');
          },
          onResponseError: (_, error) => resolve(error),
        },
      );
    });
    expect(await heard).toMatchObject({ message: 'too late' });
  });

  it.each<[string, Record<string, unknown>, Record<string, unknown>, string]>([
    [
      'without a method that undici needs',
      {},
      { onResponseStart: undefined },
      'invalid onResponseStart method',
    ],
    ['that cannot upgrade', { upgrade: 'websocket' }, {}, 'invalid onRequestUpgrade method'],
    ['for another origin’s path', { path: 'http://evil.example/' }, {}, 'path must start with a slash'],
  ])('refuses a call %s', async (_, options, methods, message) => {
    const { dispatcher } = await served();
    const heard: Error[] = [];
    const handler = {
      onRequestStart() {},
      onResponseStart() {},
      onResponseData() {},
      onResponseEnd() {},
      onResponseError: (_controller: unknown, error: Error) => heard.push(error),
      ...methods,
    };
    dispatcher.dispatch({ origin, path: '/', method: 'GET', ...options }, handler as never);
    expect(heard).toEqual([expect.objectContaining({ code: 'UND_ERR_INVALID_ARG' })]);
    expect(heard[0]?.message).toContain(message);
  });

  it('throws what a handler cannot be told', async () => {
    const { dispatcher } = await served();
    const dispatch = (options: unknown) => () =>
      dispatcher.dispatch(options as never, { onRequestStart() {} } as never);
    expect(dispatch(null)).toThrow('opts must be an object');
    expect(dispatch({ origin, path: '/', method: 'GET' })).toThrow('invalid onResponseError method');
  });

  it('serves an older undici, which names it in the options', async () => {
    const { dispatcher } = await served();
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const handler = {
      onConnect() {},
      onHeaders: (status: number) => resolve(status),
      onData: () => true,
      onComplete() {},
      onError: reject,
    };
    dispatcher.dispatch({ origin, path: '/', method: 'GET', dispatcher } as never, handler as never);
    expect(await promise).toBe(200);
    const retrying = new RetryAgent(dispatcher);
    const { body } = await retrying.request({ origin, path: '/', method: 'GET', dispatcher } as never);
    await body.dump();
  });

  it('gives a handler no context, as undici does', async () => {
    const { dispatcher } = await served();
    const { body, context } = await dispatcher.request({ origin, path: '/', method: 'GET' });
    await body.dump();
    expect(context).toBeNull();
  });

  it('sends undici’s own FormData', async () => {
    const { dispatcher } = await served();
    const form = new UndiciForm();
    form.set('name', 'value');
    const { body } = await dispatcher.request({ origin, path: '/', method: 'POST', body: form });
    expect(await body.text()).toMatch(/name="name"\r\n\r\nvalue\r\n/);
  });
});

describe('client.dispatcher', () => {
  it('tells interceptors of its origin, as a Pool does', async () => {
    const { dispatcher } = createClient(origin, { resolver: fixed([await serve()]) });
    dispatchers.push(dispatcher);
    const seen: unknown[] = [];
    const composed = dispatcher.compose([
      (dispatch) => (options, handler) => {
        seen.push(options.origin);
        return dispatch(options, handler);
      },
    ]);
    for (const one of [composed, composed.compose(interceptors.redirect({ maxRedirections: 1 }))]) {
      await (await one.request({ path: '/moved', method: 'GET' })).body.dump();
    }
    expect(seen).toEqual([origin, origin, origin]);
  });
});

describe('ServiceAgent', () => {
  it('refuses an origin with a path, which would be lost', async () => {
    const agent = new ServiceAgent({ resolver: fixed([await serve()]) });
    dispatchers.push(agent);
    const call = agent.request({ origin: `${origin}/base`, path: '/', method: 'GET' });
    await expect(call).rejects.toMatchObject({ code: 'UND_ERR_INVALID_ARG', message: 'invalid url' });
  });

  it('may be asked of its services through what it was composed to', async () => {
    const agent = new ServiceAgent({ resolver: fixed([await serve()]) });
    dispatchers.push(agent);
    const composed = agent.compose(interceptors.dump()) as unknown as ServiceAgent;
    await (await composed.request({ origin, path: '/', method: 'GET' })).body.dump();
    composed.update({ retry: false });
    expect(composed.snapshot().map(({ target }) => target)).toEqual(['orders']);
  });
});
