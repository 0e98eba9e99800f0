import { openAsBlob } from 'node:fs';
import { Readable } from 'node:stream';
import { describe } from 'vitest';
import { seen } from './support/observe.ts';
import { type Case, compare, publicHost } from './support/parity.ts';
import { httpServer, Notes } from './support/servers.ts';

const start = async () => {
  const notes = new Notes();
  const answer = (_: unknown, response: { end(text: string): void }): void => {
    response.end('ok');
  };
  const { server, port } = await httpServer(notes, { '/': answer as never, '/a/b': answer as never });
  return { notes, server, port };
};

/** Sends, and reads the answer to its end. */
const send =
  (init: RequestInit | (() => RequestInit | undefined) | undefined, path = '/'): Case =>
  async (fetch, base) => {
    const response = await fetch(`${base}${path}`, typeof init === 'function' ? init() : init);
    return { ...seen(response), text: await response.text() };
  };

const post = (body: () => unknown, more: object = {}): Case =>
  send(() => ({ method: 'POST', body: body(), ...more }) as RequestInit);

async function* generated(): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode('one,');
  yield new TextEncoder().encode('two');
}

const streamed = (): ReadableStream<Uint8Array> =>
  ReadableStream.from(generated()) as ReadableStream<Uint8Array>;

const form = (): FormData => {
  const data = new FormData();
  data.append('plain', 'text');
  data.append('lines', 'a\nb\r\nc\rd');
  data.append('quo"ted\nname', 'ü — €');
  data.append('file', new File(['contents'], 'na"me.txt', { type: 'text/plain' }));
  data.append('blob', new Blob([new Uint8Array([0, 1, 254, 255])]));
  return data;
};

const textForm = (): FormData => {
  const data = new FormData();
  data.append('a', '1');
  data.append('a', 'ünï');
  return data;
};

const transferred = (): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(3);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  return bytes;
};

const large = Buffer.alloc(300_000, 'x');

const cases: Record<string, Case> = {
  'a string URL': send(undefined),
  'a URL object': async (fetch, base) => seen(await fetch(new URL('/a/b?x=1&y=ü#hash', base))),
  'a path that needs encoding': send(undefined, '/a b/ü?q=a b&r=%20'),
  'a URL with a fragment': send(undefined, '/a/b#part'),
  'a URL with an empty fragment': send(undefined, '/a/b#'),
  'a URL with an empty query': send(undefined, '/a/b?'),
  'a URL with dots': send(undefined, '/x/../a/./b'),
  'something that turns into a URL': async (fetch, base) =>
    seen(await fetch({ toString: () => `${base}/a/b` } as never)),
  'a Request': async (fetch, base) => seen(await fetch(new Request(`${base}/a/b`))),
  'a Request with headers': async (fetch, base) =>
    seen(await fetch(new Request(`${base}/a/b`, { headers: { 'X-One': '1', Accept: 'text/html' } }))),
  'a Request with a body': async (fetch, base) => {
    const request = new Request(base, { method: 'PUT', body: 'contents' });
    const response = await fetch(request);
    return { ...seen(response), used: request.bodyUsed };
  },
  'a Request with a streamed body': async (fetch, base) => {
    const request = new Request(base, { method: 'POST', body: streamed(), duplex: 'half' } as RequestInit);
    return seen(await fetch(request));
  },
  'a Request with a referrer': async (fetch, base) =>
    seen(await fetch(new Request(base, { referrer: `${base}/page` }))),
  'a Request with a referrer and a policy': async (fetch, base) =>
    seen(await fetch(new Request(base, { referrer: `${base}/page`, referrerPolicy: 'origin' }))),
  'a Request with a referrer and an init that says nothing': async (fetch, base) =>
    seen(await fetch(new Request(base, { referrer: `${base}/page` }), {})),
  'a Request with a referrer and an init over it': async (fetch, base) =>
    seen(await fetch(new Request(base, { referrer: `${base}/page` }), { headers: { a: '1' } })),
  'a Request and an init over it': async (fetch, base) =>
    seen(await fetch(new Request(base, { method: 'PUT', headers: { a: '1' } }), { headers: { b: '2' } })),
  'a Request whose method the init changes': async (fetch, base) =>
    seen(await fetch(new Request(base, { headers: { a: '1' } }), { method: 'POST', body: 'new' })),
  'a Request and an init that says nothing': async (fetch, base) =>
    seen(await fetch(new Request(base, { headers: { a: '1' } }), {})),
  'a Request and an undefined member': async (fetch, base) =>
    seen(await fetch(new Request(base, { headers: { a: '1' } }), { method: undefined as never })),
  'a Request whose body was read': async (fetch, base) => {
    const request = new Request(base, { method: 'POST', body: 'x' });
    await request.text();
    return fetch(request);
  },
  'a Request that says otherwise than it is': async (fetch, base) => {
    const request = Object.defineProperties(new Request(`${base}/a/b`, { headers: { a: '1' } }), {
      url: { value: 'http://elsewhere.invalid/' },
      method: { value: 'DELETE' },
      headers: { value: new Headers({ b: '2' }) },
      redirect: { value: 'error' },
      signal: { value: AbortSignal.abort() },
    });
    return seen(await fetch(request));
  },
  'the same Request twice': async (fetch, base) => {
    const request = new Request(base, { headers: { n: '1' } });
    return [seen(await fetch(request)), seen(await fetch(request))];
  },
  'the same Request with a body twice': async (fetch, base) => {
    const request = new Request(base, { method: 'POST', body: 'x' });
    await fetch(request);
    return fetch(request);
  },

  'an init of null': send(() => null as never),
  'an init that is no object': send(() => 5 as never),
  'an init whose members are inherited': send(
    () => Object.create({ method: 'PUT', body: 'inherited' }) as RequestInit,
  ),
  'members the platform does not know': send({ anything: 1 } as RequestInit),

  ...Object.fromEntries(
    [
      'GET',
      'HEAD',
      'POST',
      'PUT',
      'PATCH',
      'DELETE',
      'OPTIONS',
      'get',
      'Post',
      'delete',
      'PURGE',
      'Custom-Method',
      'M-SEARCH',
      'constructor',
      '__proto__',
    ].map((method) => [`method ${method}`, send({ method })]),
  ),
  ...Object.fromEntries(
    ['CONNECT', 'TRACE', 'TRACK', 'trace', '', 'A B', 'GÉT', 'G\nT'].map((method) => [
      `method ${JSON.stringify(method)} is refused`,
      send({ method }),
    ]),
  ),
  'a method that is no string': send({ method: { toString: () => 'PUT' } as never }),
  'a method of null': send({ method: null as never }),

  'headers of an object': send({
    headers: { 'X-Mixed-Case': 'Value', accept: 'application/json', 'user-agent': 'me/1' },
  }),
  'headers of pairs': send({
    headers: [
      ['B', '1'],
      ['a', '2'],
      ['b', '3'],
      ['Cookie', 'x=1'],
      ['cookie', 'y=2'],
    ],
  }),
  'headers of a Headers': send(() => ({ headers: new Headers({ 'X-B': '1', 'X-A': '2', Zed: '3' }) })),
  'headers of a Headers with repeated names': send(() => {
    const headers = new Headers({ 'X-B': '1' });
    headers.append('x-b', '2');
    headers.append('Accept', 'text/plain');
    headers.append("odd'name", 'it\'s "quoted" \\ \t here');
    return { headers };
  }),
  'headers of a Map': send({ headers: new Map([['x-map', '1']]) as never }),
  'headers whose values are no strings': send({ headers: { n: 5, b: true, u: undefined, z: null } as never }),
  'headers with white space around their values': send({ headers: { a: '  padded \t' } }),
  'headers with latin1 values': send({ headers: { a: 'é' } }),
  'headers with empty values': send({ headers: { a: '' } }),
  'headers whose names are numbers': send({ headers: { '2': 'b', '1': 'a', x: 'c' } }),
  'headers with symbol keys': send({ headers: { [Symbol('s')]: '1', a: 'b' } as never }),
  'headers with an own content-length': send({
    method: 'POST',
    body: 'abc',
    headers: { 'Content-Length': '3' },
  }),
  'headers with a wrong content-length': send({
    method: 'POST',
    body: 'abc',
    headers: { 'Content-Length': '5' },
  }),
  'headers with an own host': send({ headers: { host: 'elsewhere' } }),
  'headers with connection': send({ headers: { connection: 'close' } }),
  'headers with connection: keep-alive': send({ headers: { Connection: 'keep-alive' } }),
  'headers with transfer-encoding': send({ headers: { 'transfer-encoding': 'chunked' } }),
  'headers with upgrade': send({ headers: { upgrade: 'websocket' } }),
  'headers with expect': send({ headers: { expect: '100-continue' } }),
  'headers with range': send({ headers: { Range: 'bytes=0-1' } }),
  'headers with range and accept-encoding': send({
    headers: { Range: 'bytes=0-1', 'Accept-Encoding': 'br' },
  }),
  'headers with if-none-match': send({ headers: { 'If-None-Match': '"x"' } }),
  'headers with if-modified-since and a cache-control of their own': send({
    headers: { 'If-Modified-Since': 'Mon, 23 Nov 2026 00:00:00 GMT', 'Cache-Control': 'max-age=1' },
  }),
  'headers with accept-encoding': send({ headers: { 'accept-encoding': 'identity' } }),
  'headers with sec-fetch-mode and accept-language': send({
    headers: { 'sec-fetch-mode': 'navigate', 'Accept-Language': 'de' },
  }),
  'headers that cannot be enumerated': send(() => ({
    headers: Object.defineProperty({ a: '1' }, 'b', { value: '2' }) as Record<string, string>,
  })),
  'headers with a content-type for a string': send({
    method: 'POST',
    body: '{}',
    headers: { 'Content-Type': 'application/json' },
  }),
  'headers with a content-type and no body': send({
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  }),
  'headers with a bad name': send({ headers: { 'a b': '1' } }),
  'headers with an empty name': send({ headers: { '': '1' } }),
  'headers with a bad value': send({ headers: { a: 'x\ny' } }),
  'headers with a NUL': send({ headers: { a: 'x\0y' } }),
  'headers with a character beyond latin1': send({ headers: { a: '€' } }),
  'headers of pairs with three': send({ headers: [['a', 'b', 'c']] as never }),
  'headers of a string': send({ headers: 'a: b' as never }),
  'headers of a number': send({ headers: 7 as never }),
  'headers of null': send({ headers: null as never }),
  'headers of a function': send({ headers: (() => {}) as never }),
  'set-cookie sent by a client': send({
    headers: [
      ['Set-Cookie', 'a=1'],
      ['set-cookie', 'b=2'],
    ],
  }),

  'a string body': post(() => 'text ü €'),
  'an empty string body': post(() => ''),
  'a string body with a lone surrogate': post(() => 'a\ud800b'),
  'a string body in PUT': send({ method: 'PUT', body: 'x' }),
  'a string body in PATCH': send({ method: 'PATCH', body: 'x' }),
  'a string body in DELETE': send({ method: 'DELETE', body: 'x' }),
  'a string body in a custom method': send({ method: 'PURGE', body: 'x' }),
  'a large string body': post(() => large.toString()),
  'a Buffer body': post(() => Buffer.from('buffer')),
  'a Uint8Array body': post(() => new Uint8Array([1, 2, 3])),
  'a part of a buffer': post(() => new Uint8Array(new Uint8Array([1, 2, 3, 4, 5]).buffer, 1, 3)),
  'an Int16Array body': post(() => new Int16Array([1, 256])),
  'a DataView body': post(() => new DataView(new Uint8Array([9, 8, 7]).buffer, 1)),
  'an ArrayBuffer body': post(() => new Uint8Array([1, 2, 3]).buffer),
  'an empty ArrayBuffer body': post(() => new ArrayBuffer(0)),
  'a SharedArrayBuffer body': post(() => new SharedArrayBuffer(3)),
  'an ArrayBuffer body that was transferred': post(() => transferred().buffer),
  'a Uint8Array body that was transferred': post(() => transferred()),
  'a large Buffer body': post(() => large),
  'a Buffer that is changed afterwards': async (fetch, base) => {
    const body = Buffer.from('before');
    const pending = fetch(base, { method: 'POST', body });
    body.fill('x');
    return seen(await pending);
  },
  'a URLSearchParams body': post(() => new URLSearchParams({ a: '1', b: 'ü &' })),
  'a Blob body': post(() => new Blob(['blob'])),
  'a Blob body with a type': post(() => new Blob(['blob'], { type: 'text/x-own' })),
  'an empty Blob body': post(() => new Blob([])),
  'a File body': post(() => new File(['file'], 'f.txt', { type: 'text/plain' })),
  'a large Blob body': post(() => new Blob([large, large])),
  'a Blob of a file on disk': async (fetch, base) => {
    const body = await openAsBlob('package.json');
    return seen(await fetch(base, { method: 'POST', body }));
  },
  'a FormData body': post(form),
  'a FormData body of text alone': post(textForm),
  'an empty FormData body': post(() => new FormData()),
  'a FormData body with a content-type of its own': post(textForm, {
    headers: { 'content-type': 'multipart/x' },
  }),
  'a ReadableStream body': post(streamed, { duplex: 'half' }),
  'a ReadableStream body and a content-length': post(streamed, {
    duplex: 'half',
    headers: { 'content-length': '7' },
  }),
  'an empty ReadableStream body': post(() => new ReadableStream({ start: (c) => c.close() }), {
    duplex: 'half',
  }),
  'a ReadableStream of strings': post(() => ReadableStream.from(['a', 'b']), { duplex: 'half' }),
  'a byte stream body': post(
    () =>
      new ReadableStream({
        type: 'bytes',
        start: (c) => {
          c.enqueue(new Uint8Array([65]));
          c.close();
        },
      }),
    { duplex: 'half' },
  ),
  'a ReadableStream without duplex': post(streamed),
  'a stream in a GET': send(() => ({ body: streamed(), duplex: 'half' }) as RequestInit),
  'a locked stream': post(
    () => {
      const body = streamed();
      body.getReader();
      return body;
    },
    { duplex: 'half' },
  ),
  'a stream that was read from': async (fetch, base) => {
    const body = streamed();
    const reader = body.getReader();
    await reader.read();
    reader.releaseLock();
    return fetch(base, { method: 'POST', body, duplex: 'half' } as RequestInit);
  },
  'a stream that is used twice': async (fetch, base) => {
    const body = streamed();
    await fetch(base, { method: 'POST', body, duplex: 'half' } as RequestInit);
    return fetch(base, { method: 'POST', body, duplex: 'half' } as RequestInit);
  },
  'an async iterable body': post(generated, { duplex: 'half' }),
  'an async iterable without duplex': post(generated),
  'a Node stream body': post(() => Readable.from([Buffer.from('node '), Buffer.from('stream')]), {
    duplex: 'half',
  }),
  'an async iterable with keepalive': post(generated, { duplex: 'half', keepalive: true }),
  'a stream with keepalive': post(streamed, { duplex: 'half', keepalive: true }),
  'a wrong duplex': post(streamed, { duplex: 'full' }),
  'a body of a number': post(() => 5),
  'a body of an object': post(() => ({ a: 1 })),
  'a body of an array': post(() => [1, 2]),
  'a body of false': post(() => false),
  'a body of null': post(() => null),
  'a body in a GET': send({ body: 'x' }),
  'a body in a HEAD': send({ method: 'HEAD', body: 'x' }),
  'a stream that fails at once': post(
    () => new ReadableStream({ start: (c) => c.error(new Error('source failed')) }),
    { duplex: 'half' },
  ),
  'a stream that fails later': post(
    () =>
      ReadableStream.from(
        (async function* () {
          yield Buffer.from('a');
          throw new RangeError('source failed');
        })(),
      ),
    { duplex: 'half' },
  ),
  'an async iterable that fails': post(
    async function* () {
      yield Buffer.from('a');
      throw new RangeError('source failed');
    },
    { duplex: 'half' },
  ),

  keepalive: send({ keepalive: true }),
  'keepalive with a body': send({ method: 'POST', body: 'x', keepalive: true }),
  'credentials include': send({ credentials: 'include' }),
  'credentials omit': send({ credentials: 'omit' }),
  'credentials of nonsense': send({ credentials: 'x' as never }),
  'mode cors': send({ mode: 'cors' }),
  'mode no-cors': send({ mode: 'no-cors' }),
  'mode no-cors with a method it may not have': send({ mode: 'no-cors', method: 'PUT' }),
  'mode same-origin': send({ mode: 'same-origin' }),
  'mode navigate': send({ mode: 'navigate' as never }),
  'cache default': send({ cache: 'default' }),
  'cache no-store': send({ cache: 'no-store' }),
  'cache no-cache': send({ cache: 'no-cache' }),
  'cache reload': send({ cache: 'reload' }),
  'cache force-cache': send({ cache: 'force-cache' }),
  'cache only-if-cached': send({ cache: 'only-if-cached' }),
  'cache of nonsense': send({ cache: 'x' as never }),
  'a referrer': send({ referrer: 'http://here/page' }),
  'no referrer': send({ referrer: '' }),
  'a referrer that is no URL': send({ referrer: 'http://[' }),
  'a referrer policy': send({ referrerPolicy: 'origin' }),
  'a referrer policy of nonsense': send({ referrerPolicy: 'x' as never }),
  'a redirect mode of nonsense': send({ redirect: 'x' as never }),
  'a window of null': send({ window: null } as RequestInit),
  'a window of something': send({ window: {} } as never),
  'a priority': send({ priority: 'high' } as RequestInit),
  'integrity that matches': send({ integrity: 'sha256-JonnZw+NI35KgMHUZHS9IKKBHdGVyIdDyqqvpmxpNSs=' }),
  'integrity that does not match': send({ integrity: 'sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' }),
  'a signal that is none': send({ signal: {} as never }),
  'a signal of null': send({ signal: null }),

  'credentials in the URL': async (fetch, base) => fetch(base.replace('//', '//user:secret@')),
  'a port that fetch blocks': async (fetch, base) => fetch(base.replace(/:\d+$/, ':6000')),
  'no URL': (fetch) => fetch('not a url'),
  'a relative URL': (fetch) => fetch('/a/b'),
  'its name and length': (fetch) => [fetch.name, fetch.length],
  nothing: (fetch) => (fetch as () => Promise<Response>)(),
  undefined: (fetch) => fetch(undefined as never),
  'an empty host': (fetch) => fetch('http://'),
  'a port out of bounds': (fetch) => fetch('http://user-service:70000/'),
  'another scheme': (fetch, base) => fetch(base.replace('http:', 'ftp:')),
};

describe('a request to a service is the platform’s', () => {
  // Node 24 forgets the referrer of a Request, whatever it is fetched with.
  compare(cases, start, { not24: /^a Request with a referrer/ });
});

describe('a request to a public host is the platform’s', () => {
  compare(cases, start, { host: publicHost });
});

describe('a request to an address is the platform’s', () => {
  const {
    'a string URL': url,
    'a string body': text,
    'headers of an object': headers,
    'a FormData body': data,
  } = cases;
  compare({ url, text, headers, data } as Record<string, Case>, start, { host: '127.0.0.1' });
});

describe('a request to localhost is the platform’s', () => {
  const { 'a string URL': url, 'a Request with a body': request } = cases;
  compare({ url, request } as Record<string, Case>, start, { host: 'localhost' });
});
