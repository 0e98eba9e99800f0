import { once } from 'node:events';
import { mkdtempSync, openAsBlob, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Stream } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { StreamedBody } from '../../src/client/body.ts';
import { type Client, type ClientRequestOptions, createClient } from '../../src/client/client.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { endpoint } from '../../src/testing/values.ts';
import { inOrder } from '../support/script.ts';
import { refusingEndpoint } from '../support/tcp.ts';

interface Received {
  readonly method: string;
  readonly type: string | undefined;
  readonly length: string | undefined;
  readonly body: string;
}

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** Answers with these statuses in turn, and 200 from then on. */
async function recording(...statuses: number[]): Promise<{ at: Endpoint; received: Received[] }> {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('latin1')) body += chunk;
    const { 'content-type': type, 'content-length': length } = request.headers;
    received.push({ method: request.method ?? '', type, length, body });
    response.statusCode = statuses.shift() ?? 200;
    response.end('ok');
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { at: endpoint(`127.0.0.1:${(server.address() as AddressInfo).port}`), received };
}

function form(): FormData {
  const data = new FormData();
  data.set('name', 'value');
  data.set('file', new File(['contents'], 'a.txt', { type: 'text/plain' }));
  return data;
}

/** A stream of before those that can be iterated: it flows once it is resumed. Such are those of `form-data`. */
function oldStream(): Stream {
  const flow = (): void => {
    for (const chunk of ['con', Buffer.from('tents')]) stream.emit('data', chunk);
    stream.emit('end');
  };
  const stream = Object.assign(new Stream(), {
    readable: true,
    pause() {},
    resume: () => setImmediate(flow),
  });
  return Object.defineProperty(stream, Symbol.toStringTag, { value: 'FormData' });
}

const bodies: Record<string, () => unknown> = {
  'a string': () => 'contents',
  'a Buffer': () => Buffer.from('contents'),
  'a Uint8Array': () => new TextEncoder().encode('contents'),
  'a Blob': () => new Blob(['contents']),
  'a FormData': form,
  'a URLSearchParams': () => new URLSearchParams({ contents: '1' }),
  'a Node stream': () => Readable.from([Buffer.from('con'), Buffer.from('tents')]),
  'a web stream': () => new Blob(['contents']).stream(),
  'a generator': () =>
    (async function* () {
      yield Buffer.from('con');
      yield Buffer.from('tents');
    })(),
};

const ways: Record<string, (client: Client, body: unknown) => Promise<number>> = {
  request: async (client, body) => {
    const options = { path: '/', method: 'PUT', body, idempotent: true } as ClientRequestOptions;
    const response = await client.request(options);
    await response.body.dump();
    return response.statusCode;
  },
  fetch: async (client, body) => {
    const init = { method: 'PUT', body, duplex: 'half', idempotent: true } as unknown as RequestInit;
    const response = await client.fetch('/', init);
    await response.text();
    return response.status;
  },
};

describe.each(Object.keys(ways))('%s', (way) => {
  const send = ways[way] as (typeof ways)[string];

  it.each(Object.keys(bodies))(
    'sends %s whole, to the endpoint after one that refused, and again after a 503',
    async (kind) => {
      const { at, received } = await recording(503);
      await using client = createClient('http://orders.shop', {
        resolver: new FakeResolver([await refusingEndpoint(), at]),
        balancer: inOrder,
      });
      expect(await send(client, bodies[kind]?.())).toBe(200);
      expect(received).toHaveLength(2);
      for (const { body } of received) expect(body).toContain('contents');
      expect(received[1]?.type).toBe(received[0]?.type);
      if (kind === 'a FormData') {
        expect(received[0]?.type).toMatch(/^multipart\/form-data; ?boundary=/);
        expect(received[0]?.body).toBe(received[1]?.body);
        expect(received[0]?.length).toBe(String(received[0]?.body.length));
      }
      if (kind === 'a URLSearchParams')
        expect(received[0]?.type).toMatch(/^application\/x-www-form-urlencoded/);
    },
  );

  it('keeps the caller’s own content type and headers', async () => {
    const { at, received } = await recording();
    await using client = createClient('http://orders.shop', { resolver: new FakeResolver([at]) });
    const headers = { 'content-type': 'text/x-own' };
    if (way === 'fetch') await (await client.fetch('/', { method: 'POST', body: 'x', headers })).text();
    else await (await client.request({ path: '/', method: 'POST', body: 'x', headers })).body.dump();
    expect(received[0]?.type).toBe('text/x-own');
  });

  it('gives the caller the last answer when a stream is too long to be kept', async () => {
    const { at, received } = await recording(503);
    await using client = createClient('http://orders.shop', {
      resolver: new FakeResolver([at]),
      retry: { bodyLimit: 4 },
    });
    expect(await send(client, Readable.from([Buffer.from('contents')]))).toBe(503);
    expect(received).toHaveLength(1);
  });

  it('fails with the error of a stream that throws, and ejects nobody', async () => {
    const { at } = await recording();
    await using client = createClient('http://orders.shop', {
      resolver: new FakeResolver([at]),
      circuit: { endpoint: { consecutive: 1 } },
    });
    const mistake = new Error('the disk is gone');
    const body = (async function* () {
      yield Buffer.from('con');
      throw mistake;
    })();
    const error: unknown = await send(client, body).catch((caught: unknown) => caught);
    expect([error, (error as Error).cause]).toContain(mistake);
    expect(client.snapshot().endpoints[0]?.failures).toBe(0);
  });

  it.each(['a form', 'a Blob'])(
    'fails with the error of %s whose file has changed since it was opened, and blames nobody',
    async (kind) => {
      const { at } = await recording();
      const folder = mkdtempSync(join(tmpdir(), 'steersman-'));
      const file = join(folder, 'a.txt');
      writeFileSync(file, 'contents');
      const blob = await openAsBlob(file);
      const data = new FormData();
      data.set('file', blob);
      writeFileSync(file, 'more than that');
      await using client = createClient('http://orders.shop', { resolver: new FakeResolver([at]) });
      const body = kind === 'a Blob' ? blob : data;
      const error: unknown = await send(client, body).catch((caught: unknown) => caught);
      const names = [(error as Error).name, ((error as Error).cause as Error | undefined)?.name];
      expect(names).toContain('NotReadableError');
      expect(client.snapshot()).toMatchObject({ retries: 0, endpoints: [{ failures: 0 }] });
      rmSync(folder, { recursive: true });
    },
  );

  it('fails with the error of a stream that fails while the call waits, and the process lives on', async () => {
    const { at, received } = await recording();
    const resolver = new FakeResolver();
    await using client = createClient('http://orders.shop', { resolver });
    const body = new Readable({ read() {} });
    const call = send(client, body).catch((caught: unknown) => caught);
    const gone = new Error('no such file');
    body.destroy(gone);
    await new Promise((resolve) => setImmediate(resolve));
    resolver.set([at]);
    const error = (await call) as Error;
    expect([error, error.cause]).toContain(gone);
    expect(received.filter(({ body }) => body !== '')).toEqual([]);
    expect(client.snapshot()).toMatchObject({ retries: 0, endpoints: [{ failures: 0 }] });
  });

  it('destroys a stream that it could not send, so that its source is not left open', async () => {
    await using client = createClient('http://orders.shop', {
      resolver: new FakeResolver([await refusingEndpoint()]),
    });
    const body = new Readable({ read() {} });
    body.on('error', () => {});
    await expect(send(client, body)).rejects.toThrow();
    await expect.poll(() => body.destroyed).toBe(true);
  });
});

describe('a request with a stream', () => {
  it('sends one of before those that can be iterated whole, and again after a 503', async () => {
    const { at, received } = await recording(503);
    await using client = createClient('http://orders.shop', {
      resolver: new FakeResolver([await refusingEndpoint(), at]),
      balancer: inOrder,
    });
    const body = oldStream() as never;
    const { statusCode } = await client.request({ path: '/', method: 'PUT', body });
    expect(statusCode).toBe(200);
    expect(received.map((request) => request.body)).toEqual(['contents', 'contents']);
  });

  it('says the length where all of it has come, also when it is sent again', async () => {
    const { at, received } = await recording(503, 200, 503);
    await using client = createClient('http://orders.shop', { resolver: new FakeResolver([at]) });
    for (const body of [new PassThrough().end('contents'), new PassThrough().setEncoding('utf8').end('ä')])
      await (await client.request({ path: '/', body })).body.dump();
    expect(received.map(({ length }) => length)).toEqual(['8', '8', undefined, '2']);
  });

  it('of what is neither text nor bytes fails as undici says it, and blames nobody', async () => {
    const { at } = await recording();
    await using client = createClient('http://orders.shop', { resolver: new FakeResolver([at]) });
    const body = Readable.from([{ id: 1 }]);
    await expect(client.request({ path: '/', body })).rejects.toThrow(/Received an instance of Object/);
    expect(client.snapshot()).toMatchObject({ retries: 0, endpoints: [{ failures: 0 }] });
  });

  it('that fails while it is connected fails with it, and blames nobody', async () => {
    await using client = createClient('http://orders.shop', {
      resolver: new FakeResolver([await refusingEndpoint()]),
    });
    await client.ready();
    const gone = new Error('no such file');
    const body = new Readable({ read() {} });
    const call = client.request({ path: '/', method: 'POST', body });
    body.destroy(gone);
    await expect(call).rejects.toBe(gone);
    expect(client.snapshot().endpoints).toMatchObject([{ failures: 0 }]);
  });

  it('is aborted by a stream that is destroyed half-way without an error, as undici’s requests are', async () => {
    const { at } = await recording();
    await using client = createClient('http://orders.shop', { resolver: new FakeResolver([at]) });
    const body = new Readable({
      read() {
        setImmediate(() => this.destroy());
      },
    });
    const error = await client.request({ path: '/', method: 'PUT', body }).catch((reason) => reason);
    expect(error).toMatchObject({ name: 'AbortError', code: 'UND_ERR_ABORTED' });
  });

  it('destroys a stream that it has read to its end, where the stream does not do so itself', async () => {
    const { at, received } = await recording();
    await using client = createClient('http://orders.shop', { resolver: new FakeResolver([at]) });
    const body = new Readable({ autoDestroy: false, read() {} });
    body.push('contents');
    body.push(null);
    await (await client.request({ path: '/', method: 'PUT', body })).body.dump();
    expect(received[0]?.body).toBe('contents');
    expect(body.destroyed).toBe(true);
  });
});

describe('StreamedBody', () => {
  it('is for what is read as it is sent, and for nothing else', () => {
    for (const body of [
      'x',
      Buffer.from('x'),
      new Uint8Array(1),
      new Blob(['x']),
      new FormData(),
      null,
      undefined,
    ]) {
      expect(StreamedBody.of(body, 100)).toBeUndefined();
    }
    for (const body of [Readable.from(['x']), new Blob(['x']).stream(), (function* () {})()]) {
      expect(StreamedBody.of(body, 100)).toBeInstanceOf(StreamedBody);
    }
  });

  it('keeps the bytes of whatever view they come in', async () => {
    const views = [
      Uint16Array.of(0x4142, 0x4344),
      new DataView(Uint8Array.of(69, 70).buffer),
      Buffer.from('GH'),
    ];
    const body = StreamedBody.of(views, 100) as StreamedBody;
    for await (const _ of body);
    expect(body.length).toBe(8);
    expect(await text(body as never)).toBe('BADCEFGH');
  });

  it('keeps copies: a source may use its buffer again', async () => {
    const buffer = Buffer.from('aaaa');
    const body = StreamedBody.of(
      (function* () {
        yield buffer;
        buffer.fill('b');
        yield buffer;
      })(),
      100,
    ) as StreamedBody;
    for await (const _ of body);
    expect(body.replayable).toBe(true);
    const again: string[] = [];
    for await (const chunk of body) again.push(String(Buffer.from(chunk as Uint8Array)));
    expect(again).toEqual(['aaaa', 'bbbb']);
  });
});
