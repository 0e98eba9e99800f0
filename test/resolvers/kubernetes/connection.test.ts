import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { Connection } from '../../../src/resolvers/kubernetes/connection.ts';
import { type KubernetesOptions, kubernetes, WatchError } from '../../../src/resolvers/kubernetes.ts';
import { FakeClock, seeded } from '../../../src/testing/index.ts';
import { RawServer } from '../../support/tcp.ts';
import { Listening } from './listening.ts';
import { bookmark, kubeconfigFor, sliceOf, status } from './scripted-api.ts';
import { type Asking, certificateUser, pem, TlsApi } from './tls-api.ts';

const open: { close(): Promise<unknown> }[] = [];

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

function later<T extends { close(): Promise<unknown> }>(one: T): T {
  open.push(one);
  return one;
}

function listen(
  kubeconfig: string,
  target = 'http://orders:8080',
  options: KubernetesOptions = {},
): Listening {
  const heard = new Listening(kubernetes({ kubeconfig, ...options }), target);
  later(heard.watch);
  return heard;
}

const added = (service: string, version: number, addresses: readonly string[]): object => ({
  type: 'ADDED',
  object: sliceOf(service, `${service}-1`, version, addresses),
});

/** Answers streaming lists with one pod per Service. */
function answer(asking: Asking, addresses: readonly string[] = ['10.0.0.1']): void {
  if (asking.url.pathname.endsWith('/services')) {
    asking.refuse(403, status(403, 'services is forbidden'));
    return;
  }
  const service = asking.url.searchParams.get('labelSelector')?.split('=')[1] ?? '';
  asking.head();
  if (asking.url.searchParams.has('sendInitialEvents'))
    asking.send(added(service, 5, addresses), bookmark(5, true));
}

/** A server that answers the first watch of slices, and keeps those that follow, of which `asked` tells, waiting. */
async function answeringOnce(): Promise<{ api: TlsApi; asked: readonly Asking[] }> {
  const asked: Asking[] = [];
  const api = later(
    await TlsApi.start({
      onAsk: (asking) => {
        if (asking.url.pathname.endsWith('/endpointslices')) asked.push(asking);
        if (asked.length <= 1) answer(asking);
      },
    }),
  );
  return { api, asked };
}

describe('the connection', () => {
  test('is one for all watches of a cluster, and gone with the last', async () => {
    const api = later(await TlsApi.start({ onAsk: (asking) => answer(asking) }));
    const kubeconfig = api.kubeconfig();
    // Each is asked for its slices and for the Service.
    const all = Array.from({ length: 120 }, (_, i) => listen(kubeconfig, `http://service-${i}:8080`));
    await Promise.all(all.map((heard) => heard.until(() => heard.sets.length === 1)));
    expect(api.sessions).toHaveLength(1);
    expect(api.sockets.size).toBe(1);
    const [last, ...others] = all;
    await Promise.all(others.map(({ watch }) => watch.close()));
    expect(api.sockets.size).toBe(1);
    const [socket] = api.sockets;
    const gone = new Promise((resolve) => socket?.on('close', resolve));
    await last?.watch.close();
    await gone;
    expect(api.sockets.size).toBe(0);
  });

  test('has another beside it where the server lets one carry no more', async () => {
    const api = later(
      await TlsApi.start({
        streams: 10,
        onAsk: (asking) => void asking.head().send(bookmark(5, true)),
      }),
    );
    const kubeconfig = api.kubeconfig();
    const all = Array.from({ length: 12 }, (_, i) => listen(kubeconfig, `http://service-${i}:8080`));
    await Promise.all(all.map((heard) => heard.until(() => heard.sets.length === 1)));
    expect(api.sockets.size).toBe(3);
    expect(all.flatMap(({ errors }) => errors).filter((error) => error instanceof WatchError)).toEqual([]);
  });

  test('carries one watch per Service, however many use it, until the last has closed', async () => {
    const asked: Asking[] = [];
    const api = later(
      await TlsApi.start({
        onAsk: (asking) => {
          if (asking.url.pathname.endsWith('/endpointslices')) asked.push(asking);
          answer(asking);
        },
      }),
    );
    const kubeconfig = api.kubeconfig();
    const all = Array.from({ length: 10 }, () => listen(kubeconfig));
    await Promise.all(all.map((heard) => heard.until(() => heard.sets.length === 1)));
    const late = listen(kubeconfig);
    await late.until(() => late.sets.length === 1);
    await Promise.all(all.map(({ watch }) => watch.close()));
    const [watch] = asked;
    watch?.send({ ...added('orders', 6, ['10.0.0.2']), type: 'MODIFIED' });
    await late.until(() => late.sets.length === 2);
    expect(all.map(({ sets }) => sets.length)).toEqual(all.map(() => 1));
    expect(asked).toHaveLength(1);
    const gone = once(watch?.stream as ServerHttp2Stream, 'close');
    await late.watch.close();
    await gone;
  });

  test('takes a list of 10,000 in its stride, and a storm of changes to it, reading no faster than it works', async () => {
    const random = seeded(1);
    const addresses = (i: number): string[] => Array.from({ length: 100 }, (_, n) => `10.0.${i}.${n}`);
    const all = Array.from({ length: 100 }, (_, i) => ({
      type: 'ADDED',
      object: sliceOf('orders', `orders-${i}`, 5, addresses(i)),
    }));
    let watch: Asking | undefined;
    const api = later(
      await TlsApi.start({
        onAsk: (asking) => {
          if (asking.url.pathname.endsWith('/services')) answer(asking);
          else watch = asking.head().send(...all, bookmark(5, true));
        },
      }),
    );
    const heard = listen(api.kubeconfig());
    await heard.until(() => heard.sets.length === 1);
    expect(heard.last).toHaveLength(10_000);

    const present = all.map((_, i) => addresses(i));
    for (let version = 6; version < 306; version++) {
      const i = Math.floor(random() * 100);
      present[i] = addresses(i).filter(() => random() < 0.9);
      watch?.send({ type: 'MODIFIED', object: sliceOf('orders', `orders-${i}`, version, present[i]) });
    }
    watch?.send({ type: 'MODIFIED', object: sliceOf('orders', 'orders-0', 306, ['10.1.0.0']) });
    present[0] = ['10.1.0.0'];
    await heard.until(() => heard.last?.some(({ address }) => address === '10.1.0.0') === true);
    expect(heard.last?.map(({ address }) => address).sort()).toEqual(present.flat().sort());
  });

  test('that is told to go away is followed by a new one before its watch ends', async () => {
    const { api, asked } = await answeringOnce();
    const heard = listen(api.kubeconfig());
    await heard.until(() => heard.sets.length === 1);
    const [session] = api.sessions;
    const second = new Promise<void>((resolve) => {
      const look = (): void => (asked.length === 2 ? resolve() : void setImmediate(look));
      look();
    });
    session?.goaway(0);
    await second;
    const [old, next] = asked;
    expect(api.sessions).toHaveLength(2);
    expect(old?.stream.closed).toBe(false);
    // What the old watch still tells is heard, and not again from the new one.
    old?.send({ ...added('orders', 7, ['10.0.0.2']), type: 'MODIFIED' });
    await heard.until(() => heard.sets.length === 2);
    next
      ?.head()
      .send(
        { ...added('orders', 7, ['10.0.0.2']), type: 'MODIFIED' },
        { ...added('orders', 8, ['10.0.0.3']), type: 'MODIFIED' },
      );
    await heard.until(() => heard.sets.length === 3);
    expect(heard.sets.map((set) => set[0]?.address)).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
    expect(next?.url.searchParams.get('resourceVersion')).toBe('5');
    expect(heard.errors).toEqual([]);
  });

  test('that is told to go away, and whose watch ends before the next is answered, leaves it to that', async () => {
    const { api, asked } = await answeringOnce();
    const heard = listen(api.kubeconfig());
    await heard.until(() => heard.sets.length === 1);
    const [session] = api.sessions;
    session?.goaway(0);
    while (asked.length < 2) await new Promise((resolve) => setImmediate(resolve));
    const [old, next] = asked;
    const ended = once(old?.stream as ServerHttp2Stream, 'close');
    old?.stream.end();
    await ended;
    next?.head().send({ ...added('orders', 7, ['10.0.0.2']), type: 'MODIFIED' });
    await heard.until(() => heard.sets.length === 2);
    expect(asked).toHaveLength(2);
    expect(heard.errors).toEqual([]);
  });

  test('to a server that shuts down, refuses newcomers and serves whom it has, is kept until another takes over', async () => {
    const asked: Asking[] = [];
    const api = later(
      await TlsApi.start({
        onAsk: (asking) => {
          const watch = asking.url.pathname.endsWith('/endpointslices');
          if (watch) asked.push(asking);
          if (!watch || asked.length === 1) answer(asking);
          else if (asked.length < 4) asking.stream.session?.destroy();
        },
      }),
    );
    const clock = new FakeClock();
    const heard = listen(api.kubeconfig(), 'http://orders:8080', { clock });
    await heard.until(() => heard.sets.length === 1);
    api.sessions[0]?.goaway(0);
    while (asked.length < 4) {
      await new Promise((resolve) => setImmediate(resolve));
      await clock.advance(10);
    }
    asked[0]?.send({ ...added('orders', 7, ['10.0.0.2']), type: 'MODIFIED' });
    await heard.until(() => heard.sets.length === 2);
    asked[3]?.head().send({ ...added('orders', 8, ['10.0.0.3']), type: 'MODIFIED' });
    await heard.until(() => heard.last?.[0]?.address === '10.0.0.3');
    expect(heard.errors).toEqual([]);
  });

  test('that is lost, so that its streams just end, is told, and the set kept until the next list', async () => {
    let address = '10.0.0.1';
    const api = later(await TlsApi.start({ onAsk: (asking) => answer(asking, [address]) }));
    const heard = listen(api.kubeconfig());
    await heard.until(() => heard.sets.length === 1);
    address = '10.0.0.2';
    // As when the server is killed.
    for (const socket of api.sockets) socket.destroy();
    await heard.until(() => heard.sets.length === 2);
    expect(heard.codes).toEqual(['STEERSMAN_ERR_UNREACHABLE']);
    expect(heard.sets.map((set) => set.map((endpoint) => endpoint.address))).toEqual([
      ['10.0.0.1'],
      ['10.0.0.2'],
    ]);
  });

  test('on which a watch runs on beyond its time gets a new one, from the last version', async () => {
    const asked: Asking[] = [];
    const api = later(
      await TlsApi.start({
        onAsk: (asking) => {
          if (asking.url.pathname.endsWith('/endpointslices')) asked.push(asking);
          answer(asking);
        },
      }),
    );
    const clock = new FakeClock();
    const heard = listen(api.kubeconfig(), 'http://orders:8080', { clock });
    await heard.until(() => heard.sets.length === 1);
    const seconds = Number(asked[0]?.url.searchParams.get('timeoutSeconds'));
    let version = 5;
    const tell = async (): Promise<void> => {
      version++;
      const { length } = heard.sets;
      asked.at(-1)?.send({ ...added('orders', version, [`10.0.0.${version}`]), type: 'MODIFIED' });
      await heard.until(() => heard.sets.length > length);
    };
    // A server that is not silent, and does not end the watch as it was asked to.
    for (let left = seconds + 9; left > 0; left -= 30) {
      await tell();
      await clock.advance(Math.min(left, 30) * 1_000);
    }
    expect(asked).toHaveLength(1);
    await clock.advance(2_000);
    while (asked.length < 2) await new Promise((resolve) => setImmediate(resolve));
    expect(asked[1]?.url.searchParams.get('resourceVersion')).toBe(String(version));
    await tell();
    expect(heard.errors).toEqual([]);
  });

  test('whose peer stops answering PINGs is given up', async () => {
    const api = later(await TlsApi.start({ onAsk: (asking) => void asking.head() }));
    const wire = later(await Wire.start(api.port));
    let gone = 0;
    const connection = new Connection(
      {
        server: `https://127.0.0.1:${wire.port}`,
        headers: {},
        tls: { ca: pem('ca.crt'), rejectUnauthorized: true },
      },
      { onGoaway() {}, onGone: () => gone++ },
      { interval: 20, patience: 200, check: 20 },
    );
    later({ close: () => connection.destroy() });
    let ended: ((error: Error) => void) | undefined;
    const end = new Promise<Error>((resolve) => {
      ended = resolve;
    });
    const answered = new Promise<void>((resolve) => {
      connection.dispatcher.dispatch(
        { origin: `https://127.0.0.1:${wire.port}`, path: '/', method: 'GET' },
        {
          onRequestStart() {},
          onResponseStart: () => resolve(),
          onResponseData() {},
          onResponseEnd() {},
          onResponseError: (_controller, error) => ended?.(error),
        },
      );
    });
    await answered;
    expect(connection.multiplexed).toBe(true);
    // Answered PINGs keep it for longer than the patience.
    const [session] = api.sessions;
    let pings = 0;
    await new Promise<void>((resolve) => session?.on('ping', () => (++pings === 20 ? resolve() : undefined)));
    expect(gone).toBe(0);
    wire.freeze();
    expect((await end).message).toContain('no answer to HTTP/2 PING');
    expect(gone).toBe(1);
  });
});

test('a proxy that only the environment names is not used', async () => {
  const names = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY'];
  const before = names.map((name) => process.env[name]);
  for (const name of names) process.env[name] = 'http://127.0.0.1:1';
  try {
    const api = later(await TlsApi.start({ onAsk: (asking) => answer(asking) }));
    const heard = listen(api.kubeconfig());
    await heard.until(() => heard.sets.length === 1);
    expect(heard.errors).toEqual([]);
  } finally {
    for (const [i, name] of names.entries()) {
      if (before[i] === undefined) delete process.env[name];
      else process.env[name] = before[i];
    }
  }
});

test('a proxy that the kubeconfig names is used', async () => {
  const api = later(await TlsApi.start({ onAsk: (asking) => answer(asking) }));
  const asked: (string | undefined)[] = [];
  const sockets = new Set<Socket>();
  const proxy = createHttpServer();
  proxy.on('connect', (request, near: Socket) => {
    asked.push(request.url);
    const far = connect(api.port, '127.0.0.1', () => {
      near.write('HTTP/1.1 200 OK\r\n\r\n');
      near.pipe(far).pipe(near);
    });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  later({
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => proxy.close(resolve));
    },
  });
  const { port } = proxy.address() as AddressInfo;
  const kubeconfig = api
    .kubeconfig()
    .replace(
      'certificate-authority-data',
      `proxy-url: http://127.0.0.1:${port}\n    certificate-authority-data`,
    );
  const heard = listen(kubeconfig);
  await heard.until(() => heard.sets.length === 1);
  expect(new Set(asked)).toEqual(new Set([`127.0.0.1:${api.port}`]));
});

describe('TLS', () => {
  test('a client certificate is shown', async () => {
    let shown: string | undefined;
    const api = later(
      await TlsApi.start({
        requestCert: true,
        onAsk: (asking) => {
          const { socket } = asking.stream.session ?? {};
          shown = (
            socket as unknown as { getPeerCertificate(): { subject: { CN: string } } }
          ).getPeerCertificate().subject.CN;
          answer(asking);
        },
      }),
    );
    const heard = listen(api.kubeconfig(certificateUser('client')));
    await heard.until(() => heard.sets.length === 1);
    expect(shown).toBe('reader');
  });

  test('an expired client certificate is named when it is refused', async () => {
    const api = later(
      await TlsApi.start({
        requestCert: true,
        onAsk: (asking) => asking.refuse(401, status(401, 'Unauthorized')),
      }),
    );
    const heard = listen(api.kubeconfig(certificateUser('expired-client')));
    await heard.until(() => heard.errors.length === 1);
    expect(heard.codes[0]).toBe('STEERSMAN_ERR_UNAUTHORIZED');
    expect(heard.errors[0]?.message).toContain('the client certificate expired at 2020-02-01T00:00:00.000Z');
  });

  test.each([
    ['signed by another CA', 'server', 'other-ca.crt', /not signed by the configured CA/],
    ['expired', 'expired-server', 'ca.crt', /its certificate has expired/],
  ])('a server certificate that is %s is not trusted', async (_what, server, ca, message) => {
    const asked: Asking[] = [];
    const api = later(await TlsApi.start({ server, onAsk: (asking) => void asked.push(asking) }));
    const heard = listen(api.kubeconfig('token: secret-canary', ca));
    await heard.until(() => heard.errors.length === 1);
    expect(heard.codes[0]).toBe('STEERSMAN_ERR_UNREACHABLE');
    expect(heard.errors[0]?.message).toMatch(message);
    expect(asked).toEqual([]);
  });

  test('a server certificate for another name is not trusted', async () => {
    const asked: Asking[] = [];
    const api = later(await TlsApi.start({ onAsk: (asking) => void asked.push(asking) }));
    const heard = listen(
      api
        .kubeconfig()
        .replace(
          'certificate-authority-data',
          'tls-server-name: other.example\n    certificate-authority-data',
        ),
    );
    await heard.until(() => heard.errors.length === 1);
    expect(heard.errors[0]?.message).toMatch(/its certificate is for another name/);
    expect(asked).toEqual([]);
  });

  test('a CA that is renewed on disk is believed from the next connection on', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'steersman-ca-'));
    later({ close: () => rm(folder, { recursive: true }) });
    const ca = join(folder, 'ca.crt');
    await writeFile(ca, pem('other-ca.crt'));
    const api = later(await TlsApi.start({ onAsk: (asking) => answer(asking) }));
    const config = join(folder, 'config');
    await writeFile(
      config,
      kubeconfigFor(`https://127.0.0.1:${api.port}`, 'token: t', `certificate-authority: ${ca}`),
    );
    const heard = listen(config);
    await heard.until(() => heard.errors.length === 1);
    expect(heard.errors[0]?.message).toContain('not signed by the configured CA');
    await writeFile(ca, pem('ca.crt'));
    await heard.until(() => heard.sets.length === 1);
  });

  test('a server is not trusted because a variable says so', async () => {
    const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    try {
      const api = later(await TlsApi.start({ onAsk: (asking) => answer(asking) }));
      const heard = listen(api.kubeconfig('token: t', 'other-ca.crt'));
      await heard.until(() => heard.errors.length === 1);
      expect(heard.sets).toEqual([]);
    } finally {
      if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
      else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
    }
  });

  test('no word of a token is in any error', async () => {
    const api = later(
      await TlsApi.start({ onAsk: (asking) => asking.refuse(401, status(401, 'Unauthorized')) }),
    );
    for (const token of ['secret-canary', 'secret-canary\\u0007']) {
      const heard = listen(api.kubeconfig(`token: "${token}"`));
      await heard.until(() => heard.errors.length === 1);
      const error = heard.errors[0] as Error;
      const told = [error.message, error.stack, String(error.cause), JSON.stringify(error)].join();
      expect(told).not.toContain('canary');
    }
  });

  test('nor of one that is sent back to us', async () => {
    await using echo = await RawServer.start((socket) => socket.pipe(socket));
    const heard = listen(kubeconfigFor(`http://127.0.0.1:${echo.port}`, 'token: secret-canary'));
    await heard.until(() => heard.errors.length === 1);
    expect(heard.codes[0]).toBe('STEERSMAN_ERR_UNREACHABLE');
    expect(inspect(heard.errors[0], { depth: null, showHidden: true })).not.toContain('canary');
  });

  test('a port where nobody listens is named', async () => {
    const heard = listen(
      kubeconfigFor(
        'https://127.0.0.1:1',
        'token: t',
        `certificate-authority-data: ${Buffer.from(pem('ca.crt')).toString('base64')}`,
      ),
    );
    await heard.until(() => heard.errors.length === 1);
    expect(heard.errors[0]?.message).toMatch(
      /no answer from the API server https:\/\/127\.0\.0\.1:1 \(ECONNREFUSED/,
    );
  });
});

/** Carries bytes between a client and a server until it is frozen. */
class Wire {
  readonly #server: Server;
  readonly #sockets: Socket[] = [];

  private constructor(server: Server, sockets: Socket[]) {
    this.#server = server;
    this.#sockets = sockets;
  }

  static async start(port: number): Promise<Wire> {
    const sockets: Socket[] = [];
    const server = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      for (const socket of [near, far]) {
        socket.on('error', () => {});
        sockets.push(socket);
      }
      near.pipe(far).pipe(near);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new Wire(server, sockets);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  freeze(): void {
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
