import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createSecureServer as createHttp2Server } from 'node:http2';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ServiceAgent } from '../../src/client/agent.ts';
import { type Client, createClient } from '../../src/client/client.ts';
import type { ServiceOptions, TlsOptions } from '../../src/client/options.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { endpoint } from '../../src/testing/values.ts';
import { blackHole } from '../support/pod-process.ts';
import { ok, onRequest, RawServer } from '../support/tcp.ts';
import { ca, identity } from '../support/tls.ts';

const opened: Server[] = [];

async function listen(server: Server): Promise<Endpoint> {
  opened.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return endpoint(`127.0.0.1:${(server.address() as AddressInfo).port}`);
}

afterEach(async () => {
  vi.unstubAllEnvs();
  for (const server of opened.splice(0)) {
    server.closeAllConnections?.();
    await new Promise((resolve) => server.close(resolve));
  }
});

function clientOf(
  at: Endpoint | Endpoint[],
  options: ServiceOptions = {},
  origin = 'http://orders.shop',
): Client {
  return createClient(origin, { resolver: new FakeResolver([at].flat()), ...options });
}

async function post(client: Client, headers: Record<string, string> = {}): Promise<number> {
  const { statusCode, body } = await client.request({ path: '/', method: 'POST', body: 'x', headers });
  await body.text();
  return statusCode;
}

async function get(client: Client): Promise<void> {
  await (await client.request('/')).body.dump();
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('the identity of a service', () => {
  async function secure(
    name: 'orders' | 'evil',
  ): Promise<{ at: Endpoint; names: unknown[]; hosts: unknown[] }> {
    const names: unknown[] = [];
    const hosts: unknown[] = [];
    const server = createSecureServer(identity(name), (request, response) => {
      names.push((request.socket as TLSSocket).servername);
      hosts.push(request.headers.host);
      request.resume();
      response.end('ok');
    });
    return { at: await listen(server as unknown as Server), names, hosts };
  }

  it('is the configured name: in Host, in SNI and in the certificate check, whatever the address', async () => {
    const { at, names, hosts } = await secure('orders');
    await using client = clientOf(at, { tls: { ca } }, 'https://orders.shop:8443');
    expect(await post(client)).toBe(200);
    expect(names).toEqual(['orders.shop']);
    expect(hosts).toEqual(['orders.shop:8443']);
  });

  it('is not the caller’s Host header’s to choose', async () => {
    const evil = await secure('evil');
    await using client = clientOf(evil.at, { tls: { ca } }, 'https://orders.shop');
    await expect(post(client, { host: 'evil.example' })).rejects.toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    });
    expect(evil.hosts).toEqual([]);

    const good = await secure('orders');
    await using other = clientOf(good.at, { tls: { ca } }, 'https://orders.shop');
    expect(await post(other, { host: 'evil.example' })).toBe(200);
    expect(good.names).toEqual(['orders.shop']);
  });

  it.each([false, true])(
    'is one connection’s, whatever Host headers there are; HTTP/2: %s',
    async (allowH2) => {
      let connections = 0;
      const server = createHttp2Server({ ...identity('orders'), allowHTTP1: true }, (_, response) => {
        response.end('ok');
      });
      server.on('secureConnection', () => connections++);
      const at = await listen(server as unknown as Server);
      const client = clientOf(at, { tls: { ca }, pool: { allowH2, connections: 1 } }, 'https://orders.shop');
      for (const host of ['orders.shop', 'a.example', 'b.example', '10.0.0.1'])
        await (await client.request({ path: '/', headers: { host } })).body.dump();
      await client.close();
      expect(connections).toBe(1);
    },
  );

  it('can be another name, said once in the options', async () => {
    const { at, names } = await secure('evil');
    await using client = clientOf(at, { tls: { ca, servername: 'evil.example' } }, 'https://orders.shop');
    expect(await post(client)).toBe(200);
    expect(names).toEqual(['evil.example']);
  });

  it('may be an address, which is then what the certificate must be for, rather than the endpoint’s', async () => {
    const [cert, key, kubeCa] = ['server.crt', 'server.key', 'ca.crt'].map((name) =>
      readFileSync(new URL(`../fixtures/kube/tls/${name}`, import.meta.url)),
    ) as [Buffer, Buffer, Buffer];
    let executed = 0;
    const server = createSecureServer({ cert, key }, (_, response) => {
      executed++;
      response.end('ok');
    });
    // The certificate is for 127.0.0.1, where the endpoint is as well.
    const at = await listen(server as unknown as Server);
    for (const { host, servername, reached } of [
      { host: '127.0.0.1', servername: undefined, reached: true },
      { host: '127.0.0.2', servername: undefined, reached: false },
      { host: '127.0.0.2', servername: '127.0.0.1', reached: true },
      { host: 'orders', servername: '127.0.0.1', reached: true },
      { host: 'orders', servername: '127.0.0.2', reached: false },
    ]) {
      executed = 0;
      await using agent = new ServiceAgent({
        match: () => true,
        resolver: new FakeResolver([at]),
        tls: { ca: kubeCa, ...(servername === undefined ? {} : { servername }) },
      });
      const call = agent.request({ origin: `https://${host}`, path: '/', method: 'POST' });
      if (reached) await (await call).body.dump();
      else await expect(call).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
      expect(executed).toBe(reached ? 1 : 0);
    }
  });

  it('is checked though the environment says not to', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    const { at, hosts } = await secure('evil');
    await using client = clientOf(at, { tls: { ca } }, 'https://orders.shop');
    await expect(post(client)).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
    expect(hosts).toEqual([]);
  });

  it('is shown with a client certificate', async () => {
    const server = createSecureServer(
      { ...identity('orders'), ca, requestCert: true, rejectUnauthorized: true },
      (_, response) => void response.end('ok'),
    );
    const at = await listen(server as unknown as Server);
    await using client = clientOf(at, { tls: { ca, ...identity('client') } }, 'https://orders.shop');
    expect(await post(client)).toBe(200);
  });

  describe('in new material, by update()', () => {
    /** A server that notes whose certificate it is shown, and how many connections it has. */
    async function asking(): Promise<{ at: Endpoint; shown: string[]; open: () => number }> {
      const shown: string[] = [];
      let open = 0;
      const server = createSecureServer(
        { ...identity('orders'), ca, requestCert: true, rejectUnauthorized: false },
        (request, response) => {
          shown.push((request.socket as TLSSocket).getPeerCertificate().subject?.CN?.toString() ?? 'none');
          request.resume();
          setTimeout(() => response.end('ok'), request.headers['x-slow'] === undefined ? 0 : 300);
        },
      );
      server.on('secureConnection', (socket) => {
        open++;
        socket.once('close', () => open--);
      });
      return { at: await listen(server as unknown as Server), shown, open: () => open };
    }

    it('is shown on new connections at once, and calls in flight finish on the old ones', async () => {
      const { at, shown, open } = await asking();
      await using client = clientOf(at, { tls: { ca, ...identity('client') } }, 'https://orders.shop');
      expect(await post(client)).toBe(200);
      const slow = post(client, { 'x-slow': 'yes' });
      await expect.poll(() => shown.length).toBe(2);
      client.update({ tls: { ca, ...identity('orders') } });
      expect(await post(client)).toBe(200);
      expect(await slow).toBe(200);
      const [before, , after] = shown;
      expect(shown).toEqual([before, before, after]);
      expect(new Set([before, after, 'none']).size).toBe(3);
      await expect.poll(open).toBe(1);
      expect(client.snapshot().endpoints[0]?.calls).toBe(3);
    });

    it('is believed on new connections at once', async () => {
      const { at, shown } = await asking();
      const another = { ca: identity('unknown').cert };
      await using client = clientOf(at, { tls: another, retry: false }, 'https://orders.shop');
      await expect(post(client)).rejects.toMatchObject({ attempts: [{ class: 'unsent' }] });
      client.update({ tls: { ca: [another.ca, ca] } });
      expect(await post(client)).toBe(200);
      client.update({ tls: another });
      await expect(post(client)).rejects.toMatchObject({ attempts: [{ class: 'unsent' }] });
      expect(shown).toHaveLength(1);
    });

    it('that says the same costs no connection', async () => {
      const { at, open } = await asking();
      await using client = clientOf(at, { tls: { ca, ...identity('client') } }, 'https://orders.shop');
      expect(await post(client)).toBe(200);
      client.update({ tls: { ca: Buffer.from(ca), ...identity('client') } });
      await pause(5);
      expect(await post(client)).toBe(200);
      expect(open()).toBe(1);
    });

    it('that makes no sense is refused, and the old one stays', async () => {
      const { at, open } = await asking();
      await using client = clientOf(at, { tls: { ca, ...identity('client') } }, 'https://orders.shop');
      expect(await post(client)).toBe(200);
      const { cert, key } = identity('client');
      const bad: [TlsOptions, RegExp][] = [
        [{ ca, cert: cert.subarray(0, 200), key }, /option tls is no usable material: .*PEM/],
        [{ ca, cert, key: identity('orders').key }, /option tls is no usable material: .*mismatch/],
        [{ ca: 'no certificate', cert, key }, /option tls is no usable material: .*PEM/],
        [{ ca: '', cert, key }, /option tls is no usable material: /],
        [{ ca, cert, key, servername: 'evil.example' }, /option tls.servername .* cannot be changed$/],
      ];
      for (const [tls, message] of bad) {
        expect(() => client.update({ tls })).toThrow(TypeError);
        expect(() => client.update({ tls })).toThrow(message);
      }
      client.update({ retry: false });
      await pause(5);
      expect(await post(client)).toBe(200);
      expect(open()).toBe(1);
    });
  });

  it('that a pod cannot prove sends the call to one that can, and ejects the pod', async () => {
    const [evil, good] = [await secure('evil'), await secure('orders')];
    await using client = clientOf([evil.at, good.at], { tls: { ca } }, 'https://orders.shop');
    for (let i = 0; i < 20; i++) expect(await post(client)).toBe(200);
    expect(evil.hosts).toEqual([]);
    expect(good.hosts).toHaveLength(20);
  });
});

describe('connections', () => {
  it('are used again, within the server’s hint', async () => {
    const server = createServer(
      (request, response) => void request.resume().once('end', () => response.end('ok')),
    );
    server.keepAliveTimeout = 5_000;
    let connections = 0;
    server.on('connection', () => connections++);
    await using client = clientOf(await listen(server));
    for (let i = 0; i < 5; i++) {
      await post(client);
      await pause(i === 3 ? 1_300 : 5);
    }
    expect(connections).toBe(1);
  });

  it('without a hint carry no POST after a second of rest, and a GET still', async () => {
    await using server = await RawServer.start((socket, self) =>
      onRequest(socket, self, () => socket.write(ok)),
    );
    await using client = clientOf(server.endpoint);
    await post(client);
    await pause(1_200);
    const { body } = await client.request('/');
    await body.text();
    expect(server.connections).toBe(1);
    await pause(1_200);
    await post(client);
    expect(server.connections).toBe(2);
    expect(server.open).toBe(1);
    expect(server.requests).toBe(3);
  });

  // In real time, of which a busy machine may give too little.
  it('that a server closes after a rest carry no POST after a quarter of it', { retry: 2 }, async () => {
    await using server = await RawServer.start((socket, self) => {
      let timer: NodeJS.Timeout | undefined;
      onRequest(socket, self, () => {
        clearTimeout(timer);
        socket.write(ok);
        timer = setTimeout(() => socket.end(), 400);
      });
      socket.once('close', () => clearTimeout(timer));
    });
    await using client = clientOf(server.endpoint);
    const together = (): Promise<unknown> => Promise.all(Array.from({ length: 10 }, () => get(client)));
    await together();
    await pause(300);
    // Ten connections have survived 300 ms, and are then closed by the server after 400.
    await together();
    expect(server.connections).toBe(10);
    await pause(600);
    await post(client);
    expect(server.connections).toBe(11);
    await pause(20);
    await post(client);
    expect(server.connections).toBe(11);
    await pause(300);
    await post(client);
    expect(server.connections).toBe(12);
  });

  it('that a server closes after a rest carry no POST when the last answer was long in coming, or seen late', async () => {
    let thinking = 0;
    await using server = await RawServer.start((socket, self) => {
      let timer: NodeJS.Timeout | undefined;
      onRequest(socket, self, () => {
        clearTimeout(timer);
        setTimeout(() => {
          socket.write(ok);
          timer = setTimeout(() => socket.end(), 800);
        }, thinking);
      });
      socket.once('close', () => clearTimeout(timer));
    });
    await using client = clientOf(server.endpoint);
    await get(client);
    await expect.poll(() => server.open, { timeout: 5_000 }).toBe(0);
    await get(client);
    await pause(1);
    await post(client);
    expect(server.connections).toBe(2);
    // More than a quarter of the 800 ms: had the answer only been seen late, the server would have counted since then.
    thinking = 250;
    await pause(1);
    await get(client);
    await pause(1);
    await post(client);
    expect(server.connections).toBe(3);
    expect(server.requests).toBe(5);
  });

  it('without a hint carry no POST after a longer rest than eight have survived', async () => {
    await using server = await RawServer.start((socket, self) =>
      onRequest(socket, self, () => socket.write(ok)),
    );
    await using client = clientOf(server.endpoint);
    await post(client);
    for (let i = 0; i < 8; i++) {
      await pause(100);
      await post(client);
      expect(server.connections).toBe(2 + i);
    }
    await pause(50);
    await post(client);
    expect(server.connections).toBe(9);
  });

  it('without a hint carry a POST that was made right before its client was closed', async () => {
    await using server = await RawServer.start((socket, self) =>
      onRequest(socket, self, () => socket.write(ok)),
    );
    const client = clientOf(server.endpoint);
    await get(client);
    await pause(100);
    const last = post(client);
    await client.close();
    await last;
    expect(server.requests).toBe(2);
    expect(server.connections).toBe(2);
  });

  it('are as many as the option allows, and calls wait for them in order', async () => {
    let running = 0;
    let most = 0;
    const server = createServer((request, response) => {
      most = Math.max(most, ++running);
      request.resume();
      setTimeout(() => {
        running--;
        response.end(request.url);
      }, 5);
    });
    await using client = clientOf(await listen(server), { pool: { connections: 2 } });
    const texts = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => (await client.request(`/${i}`)).body.text()),
    );
    expect(texts).toEqual(Array.from({ length: 50 }, (_, i) => `/${i}`));
    expect(most).toBe(2);
  });

  it('survive the calls that were given up while they waited for them', async () => {
    let connections = 0;
    const seen: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      seen.push(request.url);
      setTimeout(() => response.end(), 50);
    });
    server.on('connection', () => connections++);
    await using client = clientOf(await listen(server), { pool: { connections: 1 } });
    const first = client.request('/first');
    const impatient = Array.from({ length: 20 }, (_, i) =>
      client.request({ path: `/impatient/${i}`, signal: AbortSignal.timeout(10) }),
    );
    const last = client.request('/last');
    for (const result of await Promise.allSettled(impatient)) expect(result.status).toBe('rejected');
    for (const answer of [await first, await last]) await answer.body.dump();
    expect(seen).toEqual(['/first', '/last']);
    expect(connections).toBe(1);
  });

  it('are replaced when they are old, and no call fails of it', async () => {
    let connections = 0;
    const server = createServer((request, response) => {
      request.resume();
      setTimeout(() => response.end('ok'), 10);
    });
    server.on('connection', () => connections++);
    await using client = clientOf(await listen(server), { pool: { maxConnectionAge: 100 } });
    const until = performance.now() + 1_000;
    let calls = 0;
    const lane = async (): Promise<void> => {
      while (performance.now() < until) {
        expect(await post(client)).toBe(200);
        calls++;
      }
    };
    await Promise.all([lane(), lane(), lane()]);
    expect(calls).toBeGreaterThan(50);
    // Three lanes, ten ages: about thirty where the machine is not busy, and never one per call.
    expect(connections).toBeGreaterThan(10);
    expect(connections).toBeLessThan(calls / 2);
  });

  it('are closed at once when their endpoint has gone, and those in use after their call', async () => {
    await using server = await RawServer.start((socket, self) => {
      onRequest(socket, self, (_, head) => {
        setTimeout(() => socket.write(ok), head.startsWith('POST /slow') ? 1_000 : 0);
      });
    });
    const resolver = new FakeResolver([server.endpoint]);
    await using client = createClient('http://orders.shop', { resolver });
    const slow = client.request({ path: '/slow', method: 'POST', body: 'x' });
    await expect.poll(() => server.requests).toBe(1);
    await post(client);
    expect(server.open).toBe(2);
    resolver.set([]);
    await expect.poll(() => server.open).toBe(1);
    expect((await slow).statusCode).toBe(200);
    await (await slow).body.text();
    await expect.poll(() => server.open).toBe(0);
  });

  it('that are still being made end with their client, however long they might take', async () => {
    const timeout = { total: 100, connect: Number.POSITIVE_INFINITY };
    const hung = async (name: string, at: Endpoint): Promise<void> => {
      const client = createClient(name, { resolver: new FakeResolver([at]), timeout });
      await expect(client.request('/')).rejects.toMatchObject({ code: 'STEERSMAN_ERR_DEADLINE' });
      await client.close();
    };
    await using mute = await RawServer.start((socket) => socket.resume());
    await hung('https://orders.shop', mute.endpoint);
    expect(mute.connections).toBe(1);
    await expect.poll(() => mute.open).toBe(0);

    await using hole = await blackHole();
    const connecting = (): number =>
      process.getActiveResourcesInfo().filter((kind) => kind === 'ConnectWrap').length;
    const before = connecting();
    await hung('http://orders.shop', hole.endpoint);
    await expect.poll(connecting).toBe(before);
  });
});

describe('limits of undici that are kept', () => {
  it('a head is at most 16 KiB', async () => {
    const server = createServer((_, response) => {
      response.setHeader('x', 'y'.repeat(17 * 1024));
      response.end();
    });
    await using client = clientOf(await listen(server), { retry: false });
    await expect(client.request('/')).rejects.toMatchObject({ code: 'UND_ERR_HEADERS_OVERFLOW' });
  });

  it('a body that pauses for longer than the idle timeout ends in an error', async () => {
    const server = createServer((_, response) => {
      response.write('half');
    });
    await using client = clientOf(await listen(server), { timeout: { idle: 1_000 } });
    const { body } = await client.request('/');
    await expect(body.text()).rejects.toMatchObject({ code: 'UND_ERR_BODY_TIMEOUT' });
  });
});
