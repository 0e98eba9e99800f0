import { once } from 'node:events';
import {
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type Client, createClient } from '../../src/client/client.ts';
import type { ServiceOptions } from '../../src/client/options.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Attempt, FailureClass, Phase } from '../../src/core/errors.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { endpoint } from '../../src/testing/values.ts';
import { blackHole } from '../support/pod-process.ts';
import { inOrder } from '../support/script.ts';
import { ok, onRequest, RawServer, refusingEndpoint } from '../support/tcp.ts';
import { ca, identity } from '../support/tls.ts';

/** An endpoint that misbehaves in one way. */
interface Bad extends AsyncDisposable {
  readonly endpoint: Endpoint;
  /** Requests it may have executed. */
  readonly requests: number;
}

interface Row {
  readonly what: string;
  readonly bad: () => Promise<Bad>;
  /** Calls that are answered before the one that fails: the connection is used again. */
  readonly warmUp?: number;
  readonly phase: Phase;
  readonly class: FailureClass | readonly FailureClass[];
  readonly code: RegExp;
  readonly options?: ServiceOptions;
}

const nothing = async (at: Endpoint): Promise<Bad> => ({
  endpoint: at,
  requests: 0,
  async [Symbol.asyncDispose]() {},
});
const raw = (conduct: (socket: Socket, n: number) => void): (() => Promise<Bad>) => {
  return () => RawServer.start((socket, server) => onRequest(socket, server, (n) => conduct(socket, n)));
};

async function tlsServer(
  options: TlsOptions,
  onConnection: (socket: TLSSocket, count: () => void) => void,
): Promise<Bad> {
  let requests = 0;
  const sockets = new Set<Socket>();
  const server = createTlsServer(options, (socket) => {
    socket.on('error', () => {});
    onConnection(socket, () => requests++);
  });
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: endpoint(`127.0.0.1:${(server.address() as AddressInfo).port}`),
    get requests() {
      return requests;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const answering = (socket: TLSSocket, count: () => void): void => {
  socket.on('data', () => {
    count();
    socket.write(ok);
  });
};

/** Without the hint a POST would avoid the connection. */
const hinted = ok.replace('\r\n\r\n', '\r\nkeep-alive: timeout=60\r\n\r\n');

const secure: ServiceOptions = { tls: { ca } };

const rows: readonly Row[] = [
  {
    what: 'a refused connection',
    bad: async () => nothing(await refusingEndpoint()),
    phase: 'unsent',
    class: 'unsent',
    code: /^ECONNREFUSED$/,
  },
  {
    what: 'an address that cannot be reached',
    bad: () => nothing(endpoint('255.255.255.255:80')),
    phase: 'unsent',
    class: 'unsent',
    code: /^(ENETUNREACH|EHOSTUNREACH|EACCES|EADDRNOTAVAIL)$/,
  },
  {
    what: 'a server that answers no SYN',
    bad: async () => Object.assign(await blackHole(), { requests: 0 }),
    phase: 'unsent',
    class: 'unsent',
    code: /^UND_ERR_CONNECT_TIMEOUT$/,
    options: { timeout: { connect: 100 } },
  },
  {
    what: 'a server that never shakes hands',
    bad: () => RawServer.start(() => {}),
    phase: 'unsent',
    class: 'unsent',
    code: /^UND_ERR_CONNECT_TIMEOUT$/,
    options: { ...secure, timeout: { connect: 100 } },
  },
  {
    what: 'a certificate of another name',
    bad: () => tlsServer(identity('evil'), answering),
    phase: 'unsent',
    class: 'unsent',
    code: /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    options: secure,
  },
  {
    what: 'a certificate of an unknown authority',
    bad: () => tlsServer(identity('unknown'), answering),
    phase: 'unsent',
    class: 'unsent',
    code: /^(UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT_LOCALLY|SELF_SIGNED_CERT_IN_CHAIN)$/,
    options: secure,
  },
  {
    what: 'an expired certificate',
    bad: () => tlsServer(identity('expired'), answering),
    phase: 'unsent',
    class: 'unsent',
    code: /^CERT_HAS_EXPIRED$/,
    options: secure,
  },
  {
    what: 'a TLS version nobody speaks any more',
    bad: () =>
      tlsServer(
        { ...identity('orders'), minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
        answering,
      ),
    phase: 'unsent',
    class: 'unsent',
    code: /^ERR_SSL_/,
    options: secure,
  },
  {
    what: 'plain text where TLS is spoken',
    bad: () =>
      RawServer.start((socket) => socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))),
    phase: 'unsent',
    class: 'unsent',
    code: /^ERR_SSL_/,
    options: secure,
  },
  {
    what: 'a missing client certificate over TLS 1.2',
    bad: () =>
      tlsServer(
        { ...identity('orders'), ca, requestCert: true, rejectUnauthorized: true, maxVersion: 'TLSv1.2' },
        answering,
      ),
    phase: 'unsent',
    class: 'unsent',
    code: /^(ERR_SSL_|ECONNRESET)/,
    options: secure,
  },
  {
    what: 'a missing client certificate over TLS 1.3, which shows after the handshake',
    bad: () =>
      tlsServer(
        { ...identity('orders'), ca, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' },
        answering,
      ),
    phase: 'sent',
    class: 'ambiguous',
    code: /^(ERR_SSL_|UND_ERR_SOCKET|ECONNRESET)/,
    options: secure,
  },
  {
    what: 'TLS where plain text is spoken',
    bad: () => tlsServer(identity('orders'), answering),
    phase: 'sent',
    class: 'ambiguous',
    code: /^(UND_ERR_SOCKET|ECONNRESET|HTTPParserError|HPE_)/,
  },
  {
    what: 'a connection closed after the request',
    bad: raw((socket) => socket.end()),
    phase: 'sent',
    class: 'ambiguous',
    code: /^UND_ERR_SOCKET$/,
  },
  {
    what: 'a connection reset after the request',
    bad: raw((socket) => socket.resetAndDestroy()),
    phase: 'sent',
    class: 'ambiguous',
    code: /^ECONNRESET$/,
  },
  {
    what: 'a used connection closed at the second request',
    bad: raw((socket, n) => (n === 0 ? socket.write(hinted) : socket.end())),
    warmUp: 1,
    phase: 'sent',
    class: 'ambiguous',
    code: /^UND_ERR_SOCKET$/,
  },
  {
    what: 'a used connection reset at the second request',
    bad: raw((socket, n) => (n === 0 ? socket.write(hinted) : socket.resetAndDestroy())),
    warmUp: 1,
    phase: 'sent',
    class: 'ambiguous',
    code: /^ECONNRESET$/,
  },
  {
    what: 'no answer at all',
    bad: raw(() => {}),
    phase: 'sent',
    class: 'ambiguous',
    code: /^UND_ERR_HEADERS_TIMEOUT$/,
    options: { timeout: { attempt: 100 } },
  },
  {
    what: 'a head that never ends, a byte at a time',
    bad: raw((socket) => {
      const timer = setInterval(() => socket.write('x'), 10);
      socket.once('close', () => clearInterval(timer));
      socket.write('HTTP/1.1 200 OK\r\nx-y: ');
    }),
    phase: 'sent',
    class: 'ambiguous',
    code: /^UND_ERR_HEADERS_TIMEOUT$/,
    options: { timeout: { attempt: 100 } },
  },
  {
    what: 'interim responses without end',
    bad: raw((socket) => {
      const timer = setInterval(() => socket.write('HTTP/1.1 102 Processing\r\n\r\n'.repeat(20)), 5);
      socket.once('close', () => clearInterval(timer));
    }),
    phase: 'sent',
    class: 'ambiguous',
    code: /^UND_ERR_HEADERS_TIMEOUT$/,
    options: { timeout: { attempt: 100 } },
  },
  {
    what: 'garbage',
    bad: raw((socket) => socket.write('\0\x01\x02 this is no HTTP\r\n\r\n')),
    phase: 'sent',
    class: 'ambiguous',
    code: /^(HTTPParserError|HPE_)/,
  },
  {
    what: 'a head of 20 KB',
    bad: raw((socket) => socket.write(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`)),
    phase: 'sent',
    class: 'ambiguous',
    code: /^UND_ERR_HEADERS_OVERFLOW$/,
  },
  {
    what: 'a body cut short of its length by a close',
    bad: raw((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf')),
    phase: 'response',
    class: 'committed',
    code: /^UND_ERR_SOCKET$/,
  },
  {
    what: 'a body cut short of its length by a reset',
    bad: raw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf');
      setTimeout(() => socket.resetAndDestroy(), 20);
    }),
    phase: 'response',
    class: 'committed',
    code: /^ECONNRESET$/,
  },
  {
    what: 'a chunked body without its end',
    bad: raw((socket) => socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n')),
    phase: 'response',
    class: 'committed',
    code: /^UND_ERR_SOCKET$/,
  },
];

/** The misbehaving endpoint first, and a good one. */
async function withBoth(
  row: Row,
  test: (client: Client, bad: Bad, good: Bad) => Promise<void>,
  options: ServiceOptions,
): Promise<void> {
  const tls = row.options?.tls !== undefined;
  await using bad = await row.bad();
  await using good = tls
    ? await tlsServer({ ...identity('orders') }, answering)
    : await raw((socket) => socket.write(ok))();
  await using client = createClient(`${tls ? 'https' : 'http'}://orders.shop`, {
    resolver: new FakeResolver([bad.endpoint, good.endpoint]),
    balancer: inOrder,
    ...row.options,
    ...options,
  });
  await client.ready();
  for (let i = 0; i < (row.warmUp ?? 0); i++) {
    const { body } = await client.request({ path: '/', method: 'GET' });
    await body.text();
    // undici frees a connection a turn after the body's end.
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await test(client, bad, good);
}

/** A secret of the caller's, which no error may tell. */
const canary = 'c4n4ry';

type Failed = Error & { code?: string; attempts: readonly Attempt[] };

async function outcome(client: Client, method: 'GET' | 'POST'): Promise<'ok' | Failed> {
  try {
    const { statusCode, body } = await client.request({
      path: '/',
      method,
      headers: { authorization: `Bearer ${canary}`, cookie: canary },
      ...(method === 'POST' ? { body: 'x' } : {}),
    });
    expect(await body.text()).toBe('ok');
    expect(statusCode).toBe(200);
    return 'ok';
  } catch (error) {
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(canary);
    return error as Failed;
  }
}

describe('how far an attempt came decides what may follow', () => {
  it.each(rows)('$what: $class', { timeout: 15_000 }, async (row) => {
    await withBoth(
      row,
      async (client) => {
        const failed = await outcome(client, 'POST');
        if (failed === 'ok') expect.fail('the call succeeded');
        const [attempt] = failed.attempts;
        expect(attempt).toMatchObject({
          class: row.class,
          phase: row.phase,
          code: expect.stringMatching(row.code),
        });
      },
      { retry: false },
    );
    const repeatable = row.class !== 'committed';
    await withBoth(
      row,
      async (client) => {
        const result = await outcome(client, 'GET');
        if (repeatable) expect(result).toBe('ok');
        else expect(result).toBeInstanceOf(Error);
      },
      {},
    );
    await withBoth(
      row,
      async (client, bad, good) => {
        const before = bad.requests;
        const result = await outcome(client, 'POST');
        if (row.class === 'unsent') expect(result).toBe('ok');
        else expect(result).toMatchObject({ attempts: [{ class: row.class }] });
        // Never at both: at one that may have executed it, or at one that has.
        expect(bad.requests - before + good.requests).toBeLessThanOrEqual(1);
      },
      {},
    );
  });

  it('a connection reset as soon as it is accepted: by whether the request had been written', async () => {
    await using bad = await RawServer.start((socket) => socket.resetAndDestroy());
    await using good = await raw((socket) => socket.write(ok))();
    for (let i = 0; i < 20; i++) {
      await using client = createClient('http://orders.shop', {
        resolver: new FakeResolver([bad.endpoint, good.endpoint]),
        balancer: inOrder,
      });
      const before = good.requests;
      const result = await outcome(client, 'POST');
      if (result === 'ok') expect(good.requests - before).toBe(1);
      else {
        expect(result.attempts).toMatchObject([{ class: 'ambiguous', phase: 'sent' }]);
        expect(good.requests).toBe(before);
      }
    }
    expect(bad.requests).toBe(0);
  });

  it.each(['end', 'resetAndDestroy'] as const)(
    'a used connection that the server has closed meanwhile (%s) costs no call, POST or not',
    async (close) => {
      for (const method of ['GET', 'POST'] as const) {
        await using bad = await RawServer.start((socket, server) => {
          onRequest(socket, server, () => {
            socket.write(ok);
            setTimeout(() => socket[close](), 20);
          });
        });
        await using client = createClient('http://orders.shop', {
          resolver: new FakeResolver([bad.endpoint]),
        });
        for (let i = 0; i < 5; i++) {
          expect(await outcome(client, method)).toBe('ok');
          await new Promise((resolve) => setTimeout(resolve, 40));
        }
        expect(bad.requests).toBe(5);
      }
    },
  );

  it('what waits behind a call that hangs is unsent when the endpoint is gone, what runs is ambiguous', async () => {
    await using hung = await raw(() => {})();
    await using good = await raw((socket) => socket.write(ok))();
    const resolver = new FakeResolver([hung.endpoint]);
    await using client = createClient('http://orders.shop', {
      resolver,
      balancer: inOrder,
      pool: { connections: 1, drainTimeout: 50 },
    });
    await client.ready();
    const running = outcome(client, 'POST');
    await expect.poll(() => hung.requests).toBe(1);
    const queued = [outcome(client, 'POST'), outcome(client, 'POST')];
    resolver.set([good.endpoint]);
    expect(await Promise.all(queued)).toEqual(['ok', 'ok']);
    expect(await running).toMatchObject({ code: 'UND_ERR_DESTROYED', attempts: [{ class: 'ambiguous' }] });
    expect(good.requests).toBe(2);
    expect(hung.requests).toBe(1);
  });

  it('a body that only the end of the connection ends cannot be told from one that was cut: 200, and short', async () => {
    const bad = raw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhalf');
      setTimeout(() => socket.end(), 20);
    });
    await using server = await bad();
    await using client = createClient('http://orders.shop', {
      resolver: new FakeResolver([server.endpoint]),
    });
    const { statusCode, body } = await client.request('/');
    expect(statusCode).toBe(200);
    expect(await body.text()).toBe('half');
  });

  it('a server that answers twice gives each call its own answer', async () => {
    await using server = await raw((socket, n) =>
      socket.write(n === 0 ? ok + ok.replace('200', '500') : ok),
    )();
    await using client = createClient('http://orders.shop', {
      resolver: new FakeResolver([server.endpoint]),
    });
    for (let i = 0; i < 5; i++) expect(await outcome(client, 'POST')).toBe('ok');
    expect(server.requests).toBe(5);
  });
});

describe('HTTP/2', () => {
  interface H2 extends Bad {
    readonly sessions: Set<ServerHttp2Session>;
  }

  async function h2(
    onStream: (stream: ServerHttp2Stream, n: number, execute: () => void) => void,
  ): Promise<H2> {
    let executed = 0;
    let streams = 0;
    const sessions = new Set<ServerHttp2Session>();
    const server: Http2SecureServer = createSecureServer({ ...identity('orders'), allowHTTP1: false });
    server.on('session', (session) => {
      sessions.add(session);
      session.once('close', () => sessions.delete(session));
    });
    server.on('stream', (stream) => {
      stream.on('error', () => {});
      onStream(stream, streams++, () => executed++);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
      endpoint: endpoint(`127.0.0.1:${(server.address() as AddressInfo).port}`),
      sessions,
      get requests() {
        return executed;
      },
      async [Symbol.asyncDispose]() {
        for (const session of sessions) session.destroy();
        await new Promise((resolve) => server.close(resolve));
      },
    };
  }

  const answer = (stream: ServerHttp2Stream): void => {
    stream.respond({ ':status': 200 });
    stream.end('ok');
  };
  const options = (...endpoints: Endpoint[]): ServiceOptions => ({
    resolver: new FakeResolver(endpoints),
    balancer: inOrder,
    pool: { allowH2: true },
    tls: { ca },
  });

  it('a stream that the peer refused goes elsewhere, POST or not, and is executed once', async () => {
    for (const method of ['GET', 'POST'] as const) {
      await using bad = await h2((stream) => stream.close(7));
      await using good = await h2((stream, _, execute) => {
        execute();
        answer(stream);
      });
      await using client = createClient('https://orders.shop', options(bad.endpoint, good.endpoint));
      expect(await outcome(client, method)).toBe('ok');
      expect(good.requests).toBe(1);
    }
  });

  it('a stream that broke is ambiguous', async () => {
    await using bad = await h2((stream, _, execute) => {
      execute();
      stream.close(2);
    });
    await using good = await h2((stream, _, execute) => {
      execute();
      answer(stream);
    });
    await using client = createClient('https://orders.shop', options(bad.endpoint, good.endpoint));
    expect(await outcome(client, 'POST')).toMatchObject({
      attempts: [{ class: 'ambiguous', phase: 'sent' }],
    });
    expect(bad.requests).toBe(1);
    expect(good.requests).toBe(0);
    expect(await outcome(client, 'GET')).toBe('ok');
  });

  it('a graceful GOAWAY costs no call: what runs finishes, what follows takes a new connection', async () => {
    await using server = await h2((stream, n, execute) => {
      execute();
      if (n % 10 === 9) stream.session?.goaway(0);
      setTimeout(() => answer(stream), 5);
    });
    await using client = createClient('https://orders.shop', options(server.endpoint));
    const results: unknown[] = [];
    for (let i = 0; i < 20; i++) {
      const batch = Array.from({ length: 10 }, (_, j) => outcome(client, j % 2 === 0 ? 'GET' : 'POST'));
      results.push(...(await Promise.all(batch)));
    }
    expect(results.filter((result) => result !== 'ok')).toEqual([]);
    expect(server.requests).toBe(200);
  });

  it('a session torn down by an error is ambiguous for what ran on it', async () => {
    await using bad = await h2((stream, _, execute) => {
      execute();
      stream.session?.destroy();
    });
    await using good = await h2((stream, _, execute) => {
      execute();
      answer(stream);
    });
    await using client = createClient('https://orders.shop', options(bad.endpoint, good.endpoint));
    expect(await outcome(client, 'POST')).toMatchObject({ attempts: [{ class: 'ambiguous' }] });
    expect(bad.requests + good.requests).toBe(1);
  });
});
