import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { AgentOptions } from '../../src/client/agent.ts';
import { createClient } from '../../src/client/client.ts';
import { createFetch, type Fetch } from '../../src/client/fetch.ts';
import { isDiscoveryError } from '../../src/core/errors.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { FakeTransport } from '../../src/testing/fake-transport.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const open: { close(): unknown }[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  for (const one of open.splice(0).reverse()) await one.close();
});

/** A fetch whose services are all at one fake endpoint. */
function fakeFetch(serve?: ConstructorParameters<typeof FakeTransport>[0], options: AgentOptions = {}) {
  const transport = new FakeTransport(serve);
  const fetch = createFetch({ resolver: new FakeResolver(['10.0.0.1:8080']), transport, ...options });
  open.push(fetch);
  return { fetch, transport };
}

async function server(
  handle: Parameters<typeof createServer>[1],
): Promise<{ port: number; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const listening: Server = createServer({ keepAliveTimeout: 60_000 }, handle as never);
  listening.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  open.push({
    close: () => {
      listening.closeAllConnections();
      return new Promise((resolve) => listening.close(resolve));
    },
  });
  return { port: (listening.address() as AddressInfo).port, sockets };
}

function fetchFrom(port: number, options: AgentOptions = {}): Fetch {
  const fetch = createFetch({ resolver: new FakeResolver([`127.0.0.1:${port}`]), ...options });
  open.push(fetch);
  return fetch;
}

describe('a call of a service', () => {
  it('has the server’s headers only, whatever somebody has put on all objects', async () => {
    const everywhere = Object.prototype as unknown as Record<string, unknown>;
    everywhere['added'] = () => {};
    everywhere['said'] = 'text';
    try {
      const { fetch } = fakeFetch(() => ({ headers: { 'x-own': '1' } }));
      const { headers } = await fetch('http://orders/');
      expect([...headers]).toEqual([['x-own', '1']]);
    } finally {
      delete everywhere['added'];
      delete everywhere['said'];
    }
  });

  it('does not pass through the platform’s fetch', async () => {
    const platform = vi.spyOn(globalThis, 'fetch');
    const { fetch, transport } = fakeFetch(() => ({ body: 'ok' }));
    const response = await fetch('http://orders/v1?x=1', {
      method: 'POST',
      body: 'text',
      headers: { a: '1' },
    });
    expect(await response.text()).toBe('ok');
    expect(platform).not.toHaveBeenCalled();
    expect(transport.requests[0]).toMatchObject({ method: 'POST', path: '/v1?x=1', body: 'text' });
  });

  it.each([
    ['integrity', { integrity: 'sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' }],
    ['a cache mode', { cache: 'no-store' as const }],
    ['a referrer', { referrer: 'http://here/' }],
  ])('passes through it, and to the service, with %s', async (_, init) => {
    const platform = vi.spyOn(globalThis, 'fetch');
    const { fetch, transport } = fakeFetch(() => ({ body: 'ok' }));
    await fetch('http://orders/', init).catch(() => {});
    expect(platform).toHaveBeenCalledTimes(1);
    expect(transport.requests).toHaveLength(1);
  });

  it('goes to a dispatcher that the caller names', async () => {
    const { fetch, transport } = fakeFetch();
    const dispatched: unknown[] = [];
    const dispatcher = {
      dispatch(
        options: unknown,
        handler: { onError?(error: Error): void; onResponseError?(_: null, error: Error): void },
      ) {
        dispatched.push(options);
        const error = new Error('mine');
        if (handler.onResponseError === undefined) handler.onError?.(error);
        else handler.onResponseError(null, error);
        return true;
      },
    };
    await expect(fetch('http://orders/', { dispatcher } as never)).rejects.toThrow('fetch failed');
    expect(dispatched).toHaveLength(1);
    expect(transport.requests).toHaveLength(0);
  });

  it('is retried elsewhere, body and all', async () => {
    const transport = new FakeTransport(({ endpoint }) =>
      endpoint.address === '10.0.0.1' ? { refuse: new Error('refused') } : { body: 'answered' },
    );
    const fetch = createFetch({ resolver: new FakeResolver(['10.0.0.1:80', '10.0.0.2:80']), transport });
    open.push(fetch);
    for (let i = 0; i < 10; i++) {
      const form = new FormData();
      form.append('file', new File(['contents'], 'f.txt'));
      const response = await fetch('http://orders/', { method: 'POST', body: form });
      expect(await response.text()).toBe('answered');
    }
    expect(transport.requests.every(({ body }) => body.includes('contents'))).toBe(true);
  });

  it('may run twice when it says so', async () => {
    let calls = 0;
    const { fetch } = fakeFetch(() => (++calls === 1 ? { status: 503 } : { body: 'second' }), {
      retry: { backoff: { min: 1, max: 1 } },
    });
    const response = await fetch('http://orders/', { method: 'POST', body: 'x', idempotent: true });
    expect(await response.text()).toBe('second');
    expect((await fetch('http://orders/', { method: 'POST', body: 'x' })).status).toBe(200);
  });

  it('carries its hash key to the balancer', async () => {
    const keys: (string | undefined)[] = [];
    const { fetch } = fakeFetch(undefined, {
      balancer: {
        pick: (backends, { hashKey }) => {
          keys.push(hashKey);
          return backends[0];
        },
      },
    });
    await fetch('http://orders/', { hashKey: 'user 7' });
    await fetch('http://orders/a');
    expect(keys).toEqual(['user 7', undefined]);
  });

  it('rejects with the platform’s error around our own', async () => {
    const fetch = createFetch({ resolver: new FakeResolver([]), transport: new FakeTransport() });
    open.push(fetch);
    const failure = await fetch('http://orders/').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(TypeError);
    expect(failure).toMatchObject({ message: 'fetch failed', cause: { code: 'STEERSMAN_ERR_NO_ENDPOINTS' } });
  });

  it('rejects with a stack that leads to where the call was made', async () => {
    const { fetch } = fakeFetch(() => {
      throw new Error('not there');
    });
    async function asksForOrders(): Promise<string> {
      return (await fetch('http://orders/')).text();
    }
    const error = await asksForOrders().then(
      () => undefined,
      (reason: Error) => reason,
    );
    expect(error?.message).toBe('fetch failed');
    expect(error?.stack).toContain('asksForOrders');
  });

  it('rejects once the fetch is closed', async () => {
    const { fetch } = fakeFetch();
    await fetch('http://orders/');
    await fetch.close();
    await expect(fetch('http://orders/')).rejects.toMatchObject({ cause: { code: 'STEERSMAN_ERR_CLOSED' } });
  });

  it('keeps a body that the caller changes while the service is found', async () => {
    const resolver = new FakeResolver();
    const transport = new FakeTransport();
    const fetch = createFetch({ resolver, transport });
    open.push(fetch);
    const body = Buffer.from('before');
    const pending = fetch('http://orders/', { method: 'POST', body });
    body.fill('x');
    resolver.set(['10.0.0.1:80']);
    await pending;
    expect(transport.requests[0]?.body).toBe('before');
  });

  it('calls text() and the others that the app has put in the place of the platform’s', async () => {
    const { fetch } = fakeFetch(() => ({ body: 'ok' }));
    const response = await fetch('http://orders/');
    const text = vi.spyOn(Response.prototype, 'text');
    expect(await response.text()).toBe('ok');
    expect(text).toHaveBeenCalledTimes(1);
  });

  it('answers the platform’s own methods, taken from the prototype', async () => {
    const { fetch } = fakeFetch(() => ({ body: '{"a":1}', headers: { 'content-type': 'application/json' } }));
    const { text, clone } = Response.prototype;
    expect(await text.call(await fetch('http://orders/'))).toBe('{"a":1}');
    expect(await clone.call(await fetch('http://orders/')).json()).toEqual({ a: 1 });
  });
});

describe('back-pressure', () => {
  it('stops a server whose response nobody reads, and frees the connection when it is cancelled', async () => {
    let written = 0;
    const { port, sockets } = await server((_, response) => {
      const chunk = Buffer.alloc(65_536);
      const write = (): void => {
        do written += chunk.length;
        while (!response.destroyed && response.write(chunk));
        if (!response.destroyed) response.once('drain', write);
      };
      write();
    });
    const response = await fetchFrom(port)('http://orders/');
    let before = -1;
    // Until the buffers in between are full.
    while (before !== written) {
      before = written;
      await pause(100);
    }
    expect(written).toBeLessThan(64 * 1024 * 1024);
    const reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    for (let read = 0; read < before; ) read += (await reader.read()).value?.byteLength ?? 0;
    await pause(50);
    expect(written).toBeGreaterThan(before);
    await reader.cancel();
    while (sockets.size > 0) await pause(5);
  });

  it('does not read a request body faster than the server takes it', async () => {
    let release = (): void => {};
    const { port } = await server((request, response) => {
      release = () => {
        request.resume();
        request.on('end', () => response.end('ok'));
      };
    });
    let pulled = 0;
    const total = 2_000;
    const body = new ReadableStream({
      pull(controller) {
        if (pulled++ < total) controller.enqueue(Buffer.alloc(65_536));
        else controller.close();
      },
    });
    const pending = fetchFrom(port)('http://orders/', {
      method: 'POST',
      body,
      duplex: 'half',
    } as RequestInit);
    let before = -1;
    while (before !== pulled || pulled === 0) {
      before = pulled;
      await pause(100);
    }
    expect(pulled).toBeLessThan(total);
    release();
    expect(await (await pending).text()).toBe('ok');
    expect(pulled).toBe(total + 1);
  });
});

describe('nothing is left open', () => {
  it('when a response is dropped with its body unread', async () => {
    const { port, sockets } = await server((_, response) => {
      response.write(Buffer.alloc(1_000_000));
    });
    const fetch = fetchFrom(port);
    await (async () => {
      const response = await fetch('http://orders/');
      expect(response.ok).toBe(true);
    })();
    for (let i = 0; i < 100 && sockets.size > 0; i++) {
      gc();
      await pause(10);
    }
    expect(sockets.size).toBe(0);
  });

  it('when the answer is a redirect with a long body', async () => {
    const { port } = await server((request, response) => {
      if (request.url === '/end') response.end('end');
      else response.writeHead(302, { location: '/end' }).end(Buffer.alloc(1_000_000));
    });
    const fetch = fetchFrom(port);
    expect(await (await fetch('http://orders/')).text()).toBe('end');
    await vi.waitFor(() => expect(fetch.snapshot()[0]?.endpoints[0]?.inflight).toBe(0));
  });

  it('when a signal outlives many calls', async () => {
    const { fetch } = fakeFetch(() => ({ body: 'ok' }));
    const { signal } = new AbortController();
    const add = vi.spyOn(signal, 'addEventListener');
    const remove = vi.spyOn(signal, 'removeEventListener');
    await Promise.all(
      Array.from({ length: 30 }, async () => (await fetch('http://orders/', { signal })).text()),
    );
    expect(add.mock.calls.length).toBe(remove.mock.calls.length);
  });
});

describe('a request body that fails without a reason', () => {
  const bodies: Record<string, (reason: unknown) => RequestInit['body']> = {
    'a web stream': (reason) => new ReadableStream({ start: (stream) => stream.error(reason) }),
    'an async iterable': (reason) =>
      (async function* () {
        yield 'a';
        throw reason;
      })() as unknown as RequestInit['body'],
  };

  it.each(
    Object.keys(bodies).flatMap((kind) =>
      [undefined, null, 0, ''].map((reason): [string, unknown] => [kind, reason]),
    ),
  )('fails its call: %s, %j', async (kind, reason) => {
    const { port } = await server((request) => request.resume());
    const body = bodies[kind]?.(reason);
    const call = fetchFrom(port)('http://orders/', { method: 'POST', body, duplex: 'half' } as RequestInit);
    await expect(call).rejects.toMatchObject({
      message: 'fetch failed',
      cause: { message: 'request body failed without a reason' },
    });
  });
});

describe('a Request that nobody holds any more', () => {
  it.each([
    ['before the answer', '/never'],
    ['in its body', '/half'],
  ])('follows the signal it was given: %s', async (_, path) => {
    const { port } = await server((request, response) => {
      if (request.url === '/half') response.write('half');
    });
    const fetch = fetchFrom(port);
    const controller = new AbortController();
    const ended = fetch(new Request(`http://orders${path}`, { signal: controller.signal })).then((response) =>
      response.text(),
    );
    const rejected = expect(ended).rejects.toThrow(
      expect.objectContaining({ name: 'AbortError' }) as unknown as Error,
    );
    for (let i = 0; i < 10; i++) {
      gc();
      await pause(1);
    }
    controller.abort();
    await rejected;
  });
});

describe('client.fetch', () => {
  it('takes paths of the service, and URLs at its origin', async () => {
    const transport = new FakeTransport(() => ({ body: 'ok' }));
    const client = createClient('http://orders:8080', {
      resolver: new FakeResolver(['10.0.0.1:8080']),
      transport,
    });
    open.push(client);
    for (const input of ['/a?b=1', 'http://orders:8080/a?b=1', new URL('http://orders:8080/a?b=1')]) {
      const response = await client.fetch(input);
      expect(response.url).toBe('http://orders:8080/a?b=1');
      expect(await response.text()).toBe('ok');
    }
    expect(new Set(transport.requests.map(({ path }) => path))).toEqual(new Set(['/a?b=1']));
    await expect(client.fetch('http://users/')).rejects.toThrow('fetches from http://orders:8080 only');
  });
});

describe('a redirect', () => {
  it('is not followed to a place that fetch may not follow it to, wherever the service is', async () => {
    const { fetch, transport } = fakeFetch(() => ({
      status: 302,
      headers: { location: 'file:///etc/passwd' },
    }));
    await expect(fetch('http://orders/')).rejects.toMatchObject({
      cause: { message: 'URL scheme must be a HTTP(S) scheme' },
    });
    expect(transport.requests).toHaveLength(1);
  });

  it('leads to another service through its own endpoints', async () => {
    const transport = new FakeTransport(({ service }) =>
      service.origin === 'http://old'
        ? { status: 307, headers: { location: 'http://new/x' } }
        : { body: 'new' },
    );
    const fetch = createFetch({ resolver: new FakeResolver(['10.0.0.1:80']), transport });
    open.push(fetch);
    const response = await fetch('http://old/x', { method: 'POST', body: 'kept' });
    expect([response.url, response.redirected, await response.text()]).toEqual(['http://new/x', true, 'new']);
    expect(transport.requests.map(({ service, body }) => [service.origin, body])).toEqual([
      ['http://old', 'kept'],
      ['http://new', 'kept'],
    ]);
  });
});

describe('what is no service', () => {
  it('is the platform’s, untouched', async () => {
    const platform = vi.spyOn(globalThis, 'fetch').mockResolvedValue(new Response('platform'));
    const fetch = createFetch();
    open.push(fetch);
    const init = { method: 'POST', body: 'x' };
    for (const url of ['http://127.0.0.1:1/', 'http://localhost:1/', 'https://www.example.com/', 'data:,x']) {
      await fetch(url, init);
      expect(platform).toHaveBeenLastCalledWith(url, init);
    }
  });
});

describe('an error of discovery', () => {
  it.each([
    ['on the lean path', {}],
    ['on the platform’s', { cache: 'no-store' as const, integrity: '', referrer: 'about:client' }],
  ])('is a TypeError, as ever, and told as what it is %s', async (_, init) => {
    await using fetch = createFetch({ resolver: new FakeResolver([]) });
    const error = await fetch('http://orders/', init).then(
      () => expect.fail('an empty set answered'),
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toMatchObject({ message: 'fetch failed', cause: { code: 'STEERSMAN_ERR_NO_ENDPOINTS' } });
    expect(isDiscoveryError(error)).toBe(true);
    expect(error).toMatchObject({ code: 'STEERSMAN_ERR_NO_ENDPOINTS', target: 'orders' });
  });
});
