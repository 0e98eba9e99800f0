import assert from 'node:assert/strict';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Endpoint } from '../core/endpoint.ts';
import { func } from '../core/options.ts';
import type { ServiceIdentity, Transport } from '../core/transport.ts';
import { type SuiteRunner, suiteRunner } from './runner.ts';
import { endpoint } from './values.ts';

const service: ServiceIdentity = {
  origin: 'http://orders.shop:8080',
  protocol: 'http:',
  servername: 'orders.shop',
};

const methods = [
  'onRequestStart',
  'onResponseStart',
  'onResponseData',
  'onResponseEnd',
  'onResponseError',
] as const;

/** A handler that notes what it is told. */
function recorder(): {
  calls: string[];
  status: () => number;
  handler: object;
  ended: Promise<Error | undefined>;
} {
  const calls: string[] = [];
  const { promise, resolve } = Promise.withResolvers<Error | undefined>();
  let status = 0;
  const handler: Record<string, (...args: never[]) => void> = {};
  for (const method of methods) {
    handler[method] = (...args: unknown[]) => {
      if (calls.at(-1) !== method) calls.push(method);
      if (method === 'onResponseStart') status = args[1] as number;
      if (method === 'onResponseEnd') resolve(undefined);
      if (method === 'onResponseError') resolve(args[1] as Error);
    };
  }
  return { calls, status: () => status, handler, ended: promise };
}

async function withServer(
  listener: RequestListener,
  use: (at: Endpoint, server: Server) => Promise<void>,
): Promise<void> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await use(endpoint(`127.0.0.1:${(server.address() as AddressInfo).port}`), server);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

/**
 * What every transport must do, as tests: `transportSuite(() => myTransport)`. It is run against plain HTTP servers
 * on loopback. The runner is the one at hand unless given.
 */
export function transportSuite(make: () => Transport, { describe, it }: SuiteRunner = suiteRunner()): void {
  func(make, 'make of transportSuite');
  const get = { origin: service.origin, path: '/a?b=c', method: 'GET' as const };

  describe('transport', () => {
    it('calls the endpoint with the name of the service', async () => {
      let seen = '';
      await withServer(
        (request, response) => {
          seen = `${request.method} ${request.headers.host} ${request.url}`;
          response.end('yes');
        },
        async (at) => {
          const dispatcher = make()(service, at);
          const { statusCode, body } = await dispatcher.request(get);
          assert.equal(statusCode, 200);
          assert.equal(await body.text(), 'yes');
          assert.equal(seen, 'GET orders.shop:8080 /a?b=c');
          await dispatcher.close();
        },
      );
    });

    it('tells a handler the start before the answer, and each once', async () => {
      await withServer(
        (_, response) => response.end('yes'),
        async (at) => {
          const dispatcher = make()(service, at);
          const { calls, handler, ended, status } = recorder();
          dispatcher.dispatch(get, handler);
          assert.equal(await ended, undefined);
          assert.equal(status(), 200);
          assert.deepEqual(calls, ['onRequestStart', 'onResponseStart', 'onResponseData', 'onResponseEnd']);
          await dispatcher.close();
        },
      );
    });

    it('fails without a start when nothing was sent', async () => {
      let free: Endpoint | undefined;
      await withServer(
        (_, response) => response.end(),
        async (at) => {
          free = at;
        },
      );
      const dispatcher = make()(service, free as Endpoint);
      const { calls, handler, ended } = recorder();
      dispatcher.dispatch({ ...get, method: 'POST', body: 'once' }, handler);
      assert.equal(((await ended) as NodeJS.ErrnoException).code, 'ECONNREFUSED');
      assert.deepEqual(calls, ['onResponseError']);
      await dispatcher.close();
    });

    it('fails after a start when the answer never came', async () => {
      await withServer(
        (request) => request.socket.destroy(),
        async (at) => {
          const dispatcher = make()(service, at);
          const { calls, handler, ended } = recorder();
          dispatcher.dispatch({ ...get, method: 'POST', body: 'once' }, handler);
          assert.ok((await ended) instanceof Error);
          assert.deepEqual(calls, ['onRequestStart', 'onResponseError']);
          await dispatcher.close();
        },
      );
    });

    it('lets a call in flight finish when it is closed, and takes no new one', async () => {
      const { promise: arrived, resolve: arrive } = Promise.withResolvers<() => void>();
      await withServer(
        (_, response) => arrive(() => response.end('late')),
        async (at) => {
          const dispatcher = make()(service, at);
          const answer = dispatcher.request(get).then(({ body }) => body.text());
          const finish = await Promise.race([arrived, answer.then(() => assert.fail('it answered itself'))]);
          const closed = dispatcher.close();
          await assert.rejects(dispatcher.request(get));
          finish();
          assert.equal(await answer, 'late');
          await closed;
        },
      );
    });

    it('fails the calls in flight when it is destroyed', async () => {
      const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
      await withServer(
        () => arrive(),
        async (at) => {
          const dispatcher = make()(service, at);
          const { handler, ended } = recorder();
          dispatcher.dispatch(get, handler);
          await Promise.race([arrived, ended.then((error) => assert.fail(error ?? 'it answered itself'))]);
          await dispatcher.destroy();
          assert.ok((await ended) instanceof Error);
        },
      );
    });

    it('connects to nothing before the first call', async () => {
      let connections = 0;
      await withServer(
        (_, response) => response.end(),
        async (at, server) => {
          server.on('connection', () => connections++);
          const dispatcher = make()(service, at);
          await new Promise((resolve) => setImmediate(resolve));
          await dispatcher.close();
          assert.equal(connections, 0);
        },
      );
    });
  });
}
