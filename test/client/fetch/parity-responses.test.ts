import { setTimeout as after } from 'node:timers/promises';
import { inspect } from 'node:util';
import { describe } from 'vitest';
import { outcome, pieces, seen } from './support/observe.ts';
import { type Case, compare } from './support/parity.ts';
import { httpServer, Notes, type Route, rawServer } from './support/servers.ts';

const large = Buffer.from(Array.from({ length: 400_000 }, (_, i) => 97 + (i % 26)));

const routes: Record<string, Route> = {
  '/text': (_, response) => {
    response.setHeader('content-type', 'text/plain; charset=utf-8');
    response.end('text ü €');
  },
  '/json': (_, response) => {
    response.setHeader('content-type', 'application/json');
    response.end('{"a":[1,2,{"b":null}]}');
  },
  '/bad-json': (_, response) => {
    response.end('{"a":');
  },
  '/bom': (_, response) => {
    response.end('\ufeff{"a":1}');
  },
  '/bytes': (_, response) => {
    response.setHeader('content-type', 'application/octet-stream');
    response.end(Buffer.from([0, 1, 2, 253, 254, 255]));
  },
  '/large': (_, response) => {
    response.end(large);
  },
  '/empty': (_, response) => {
    response.end();
  },
  '/chunked-empty': (_, response) => {
    response.setHeader('transfer-encoding', 'chunked');
    response.end();
  },
  '/pieces': async (_, response) => {
    response.flushHeaders();
    for (const piece of ['one,', 'two,', 'three']) {
      await after(15);
      response.write(piece);
    }
    response.end();
  },
  '/form': (_, response) => {
    response.setHeader('content-type', 'application/x-www-form-urlencoded');
    response.end('a=1&b=%C3%BC');
  },
  '/multipart': (_, response) => {
    response.setHeader('content-type', 'multipart/form-data; boundary=XX');
    response.end(
      '--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--XX\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\nContent-Type: text/plain\r\n\r\nfile\r\n--XX--\r\n',
    );
  },
  '/headers': (_, response) => {
    response.writeHead(203, 'Fine By Me', [
      ...['X-Case', 'One'],
      ...['x-case', 'two'],
      ...['Set-Cookie', 'a=1; Path=/'],
      ...['Set-Cookie', 'b=2, with comma'],
      ...['Empty', ''],
      ...['Latin', 'caf\u00e9'],
      ...['Cookie', 'x=1'],
      ...['cookie', 'y=2'],
      ...['Content-Type', 'text/plain'],
      ...['Content-Type', 'text/html'],
      ...['Content-Length', '2'],
    ]);
    response.end('ok');
  },
  '/early': (_, response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    response.writeProcessing();
    response.end('late');
  },
  '/expect': (_, response) => {
    response.end('expected');
  },
};
for (const status of [
  200, 201, 202, 204, 205, 206, 300, 304, 306, 400, 401, 404, 407, 409, 418, 421, 429, 451, 500, 501, 502,
  503, 504, 511, 599,
]) {
  routes[`/status/${status}`] = (_, response) => {
    response.statusCode = status;
    response.setHeader('x-status', String(status));
    response.end(status === 204 || status === 304 ? undefined : `body of ${status}`);
  };
}

const start = async () => {
  const notes = new Notes();
  const { server, port } = await httpServer(notes, routes);
  return { notes, server, port };
};

const read =
  (path: string, how: (response: Response) => unknown, init?: RequestInit): Case =>
  async (fetch, base) => {
    const response = await fetch(`${base}${path}`, init);
    const before = seen(response);
    const result = await outcome(() => how(response));
    return { before, result, after: { used: response.bodyUsed, locked: response.body?.locked } };
  };

const entries = async (data: FormData): Promise<unknown> =>
  Promise.all(
    [...data].map(async ([name, value]) => [
      name,
      typeof value === 'string' ? value : [value.name, value.type, await value.text()],
    ]),
  );

const whole = (response: Response): Promise<string> => response.text();

const cases: Record<string, Case> = {
  'text()': read('/text', whole),
  'json()': read('/json', (response) => response.json()),
  'json() of what is none': read('/bad-json', (response) => response.json()),
  'json() of nothing': read('/empty', (response) => response.json()),
  'text() behind a byte order mark': read('/bom', whole),
  'json() behind a byte order mark': read('/bom', (response) => response.json()),
  'bytes()': read('/bytes', async (response) => {
    const bytes = await response.bytes();
    return [bytes.constructor.name, [...bytes], bytes.byteOffset, bytes.buffer.byteLength];
  }),
  'arrayBuffer()': read('/bytes', async (response) => {
    const buffer = await response.arrayBuffer();
    return [Object.prototype.toString.call(buffer), buffer.byteLength, [...new Uint8Array(buffer)]];
  }),
  'blob()': read('/bytes', async (response) => {
    const blob = await response.blob();
    return [blob.constructor.name, blob.type, blob.size, [...new Uint8Array(await blob.arrayBuffer())]];
  }),
  'blob() of text': read('/text', async (response) => (await response.blob()).type),
  'blob() without a type': read('/bad-json', async (response) => (await response.blob()).type),
  'formData() of a urlencoded body': read('/form', async (response) => entries(await response.formData())),
  'formData() of a multipart body': read('/multipart', async (response) =>
    entries(await response.formData()),
  ),
  'formData() of another body': read('/text', async (response) => entries(await response.formData())),
  'a large body': read('/large', async (response) => (await response.text()) === large.toString()),
  'a large body as JSON': read('/large', (response) => response.json().catch((error) => error.name)),
  'an empty body': read('/empty', whole),
  'an empty chunked body': read('/chunked-empty', whole),
  'a body in pieces': read('/pieces', whole),
  'a body in pieces, iterated': read('/pieces', (response) => pieces(response.body)),
  'a body in pieces, each when it comes': read('/pieces', async (response) => {
    const reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    const seenPieces: unknown[] = [];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      seenPieces.push([value.constructor.name, Buffer.from(value).toString(), value.byteOffset]);
    }
    await reader.closed;
    return seenPieces;
  }),
  'a body read into a buffer of one’s own': read('/text', async (response) => {
    const reader = response.body?.getReader({ mode: 'byob' }) as ReadableStreamBYOBReader;
    const read: number[] = [];
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(4));
      if (value !== undefined) read.push(...value);
      if (done) break;
    }
    return Buffer.from(read).toString();
  }),
  'a body in pieces read into a buffer of one’s own': read('/pieces', async (response) => {
    const reader = response.body?.getReader({ mode: 'byob' }) as ReadableStreamBYOBReader;
    const read: number[] = [];
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(3));
      if (value !== undefined) read.push(...value);
      if (done) break;
    }
    return Buffer.from(read).toString();
  }),
  'a body of an odd length read in pairs': read('/text', async (response) => {
    const reader = response.body?.getReader({ mode: 'byob' }) as ReadableStreamBYOBReader;
    const lengths: unknown[] = [];
    for (let i = 0; i < 3; i++) {
      lengths.push(await outcome(async () => (await reader.read(new Uint16Array(64))).value?.length));
    }
    return lengths;
  }),
  'a body whose end nobody has read yet': read('/text', async (response) => {
    const reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    await reader.read();
    const before = await Promise.race([
      reader.closed.then(() => 'closed'),
      new Promise((resolve) => setImmediate(resolve, 'open')),
    ]);
    return [before, (await reader.read()).done, await reader.closed];
  }),
  'an empty body read': read('/empty', async (response) => response.body?.getReader().read()),
  'a body piped': read('/pieces', async (response) => {
    const upper = new TransformStream<string, string>({
      transform: (text, c) => c.enqueue(text.toUpperCase()),
    });
    let all = '';
    for await (const text of (response.body as ReadableStream)
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(upper) as unknown as AsyncIterable<string>)
      all += text;
    return all;
  }),
  'a body teed': read('/pieces', async (response) => {
    const [one, two] = (response.body as ReadableStream<Uint8Array>).tee();
    return Promise.all([pieces(one), pieces(two)]);
  }),
  'a body cancelled': read('/large', async (response) => {
    await response.body?.cancel('enough');
    return [response.bodyUsed, await outcome(() => response.text())];
  }),
  'a body cancelled after a piece': read('/large', async (response) => {
    const reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    await reader.read();
    await reader.cancel(new Error('enough'));
    return outcome(() => reader.read());
  }),
  'a body left by a break': read('/large', async (response) => {
    for await (const _ of response.body as unknown as AsyncIterable<Uint8Array>) break;
    return outcome(() => response.text());
  }),
  'a body read twice': read('/text', async (response) => {
    await response.text();
    return response.text();
  }),
  'a body read at the same time': read('/text', (response) =>
    Promise.all([outcome(() => response.text()), outcome(() => response.json())]),
  ),
  'a body read while it is locked': read('/text', async (response) => {
    response.body?.getReader();
    return [await outcome(() => response.text()), await outcome(() => response.clone())];
  }),
  'a null body read twice': read('/status/204', async (response) => [
    await response.text(),
    await response.text(),
    (await response.arrayBuffer()).byteLength,
  ]),

  'clone()': read('/json', async (response) => {
    const copy = response.clone();
    const [one, two] = await Promise.all([response.json(), copy.text()]);
    return { copy: seen(copy), one, two };
  }),
  'clone() of a clone': read('/text', async (response) => {
    const copy = response.clone().clone();
    return { copy: seen(copy), text: await copy.text() };
  }),
  'clone() of a body in pieces': read('/pieces', async (response) => {
    const copy = response.clone();
    return [await copy.text(), await response.text(), seen(copy)];
  }),
  'clone() without a body': read('/status/204', async (response) => seen(response.clone())),
  'clone() of a read body': read('/text', async (response) => {
    await response.text();
    return response.clone();
  }),
  'clone() is as immutable': read('/text', (response) => response.clone().headers.set('a', 'b')),

  'headers cannot be appended': read('/text', (response) => response.headers.append('a', 'b')),
  'headers cannot be set': read('/text', (response) => response.headers.set('a', 'b')),
  'headers cannot be deleted': read('/text', (response) => response.headers.delete('content-type')),
  'bad headers are refused for what they are': read('/text', async ({ headers }) => [
    await outcome(() => headers.append('b a d', 'x')),
    await outcome(() => headers.append('a', 'x\ny')),
    await outcome(() => headers.set('b a d', 'x')),
    await outcome(() => headers.set('a', '€')),
    await outcome(() => headers.delete('b a d')),
    await outcome(() => (headers.append as (name: string) => void)('a')),
    await outcome(() => (headers.set as () => void)()),
    await outcome(() => (headers.delete as () => void)()),
    await outcome(() => headers.get('b a d')),
  ]),
  'headers are read': read('/headers', ({ headers }) => [
    headers.get('X-CASE'),
    headers.has('empty'),
    headers.get('empty'),
    headers.get('missing'),
    headers.get('set-cookie'),
    headers.get('latin'),
    [...headers.keys()],
    Object.fromEntries(headers),
    new Headers(headers).get('x-case'),
    inspect(headers, { colors: false }),
  ]),
  'a Response made of a Response': read('/headers', async (response) => {
    const own = new Response(response.body, response);
    return [seen(own), await own.text()];
  }),
  'its methods called with another Response': read('/text', (response) => {
    const other = () => new Response('{"a":1}', { headers: { 'content-type': 'text/x-other' } });
    return Promise.all([
      response.text.call(other()),
      response.json.call(other()),
      response.bytes.call(other()),
      response.arrayBuffer.call(other()),
      response.blob.call(other()).then(({ size, type }) => [size, type]),
    ]);
  }),
  'its methods called with what is no Response': read('/text', (response) =>
    Promise.all(
      (['text', 'json', 'bytes', 'arrayBuffer', 'blob', 'formData'] as const).map((name) =>
        outcome(() => response[name].call({} as Response)),
      ),
    ),
  ),
  'members cannot be assigned': read('/text', (response) => {
    (response as { url: string }).url = 'x';
  }),
  inspected: read('/text', (response) => inspect(response, { colors: false, breakLength: 200 })),
  'inspected in full': read('/text', (response) => inspect(response, { colors: false, depth: null })),
  'as JSON': read('/text', (response) => JSON.stringify(response)),
  'not structured-cloneable': read('/text', (response) => structuredClone(response)),
  spread: read('/text', (response) => Object.keys({ ...response })),
  statics: read('/text', (response) => {
    const made = response.constructor as typeof Response;
    return [made.json({ a: 1 }).status, made.error().type];
  }),

  'informational responses are passed over': read('/early', whole),
  'a HEAD': read('/text', whole, { method: 'HEAD' }),
  'a HEAD of a large body': read('/large', whole, { method: 'HEAD' }),
  'a HEAD of JSON': read('/json', (response) => response.json(), { method: 'HEAD' }),
};
for (const path of Object.keys(routes))
  if (path.startsWith('/status/')) cases[`status ${path.slice(8)}`] = read(path, whole);
cases['status 421 to a POST'] = read('/status/421', whole, { method: 'POST', body: 'x' });
cases['status 407 to a POST'] = read('/status/407', whole, { method: 'POST', body: 'x' });

describe('a service’s response is the platform’s', () => {
  compare(cases, start);
});

const head = (lines: string[], body = ''): string => `${lines.join('\r\n')}\r\n\r\n${body}`;

/** What a server should not say. */
const odd: Record<string, string | Buffer> = {
  '/status-600': head(['HTTP/1.1 600 Beyond', 'content-length: 1'], 'x'),
  '/status-999': head(['HTTP/1.1 999 Denied', 'content-length: 1'], 'x'),
  '/reason-empty': head(['HTTP/1.1 200 ', 'content-length: 1'], 'x'),
  '/reason-none': head(['HTTP/1.1 200', 'content-length: 1'], 'x'),
  '/reason-utf8': Buffer.from(head(['HTTP/1.1 200 Größe → 1', 'content-length: 1'], 'x')),
  '/reason-latin1': Buffer.from(head(['HTTP/1.1 200 Größe', 'content-length: 1'], 'x'), 'latin1'),
  '/header-utf8': Buffer.from(head(['HTTP/1.1 200 OK', 'x-name: Größe → 1', 'content-length: 1'], 'x')),
  '/header-padded': head(['HTTP/1.1 200 OK', 'x-name:   padded', 'content-length: 1'], 'x'),
  '/header-odd-name': head(['HTTP/1.1 200 OK', "x!#$%&'*+.^_`|~: 1", 'content-length: 1'], 'x'),
  '/header-numeric': head(['HTTP/1.1 200 OK', '2: b', '1: a', 'content-length: 1'], 'x'),
  '/header-proto': head(['HTTP/1.1 200 OK', '__proto__: a', 'constructor: b', 'content-length: 1'], 'x'),
  '/short': head(['HTTP/1.1 200 OK', 'content-length: 10'], 'short'),
  '/long': head(['HTTP/1.1 200 OK', 'content-length: 2'], 'too long'),
  '/two-lengths': head(['HTTP/1.1 200 OK', 'content-length: 2', 'content-length: 3'], 'abc'),
  '/bad-length': head(['HTTP/1.1 200 OK', 'content-length: many'], 'abc'),
  '/bad-chunk': head(['HTTP/1.1 200 OK', 'transfer-encoding: chunked'], '3\r\nabc\r\nzz\r\n'),
  '/cut-chunk': head(['HTTP/1.1 200 OK', 'transfer-encoding: chunked'], '3\r\nabc\r\n5\r\nde'),
  '/trailers': head(
    ['HTTP/1.1 200 OK', 'transfer-encoding: chunked', 'trailer: x-sum'],
    '3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n',
  ),
  '/until-close': head(['HTTP/1.1 200 OK', 'connection: close'], 'until the end'),
  '/http-1.0': head(['HTTP/1.0 200 OK'], 'old'),
  '/no-http': 'hello\r\n\r\n',
  '/nothing': '',
  '/half-a-head': 'HTTP/1.1 200 OK\r\ncontent-',
  '/204-with-body': head(['HTTP/1.1 204 No Content', 'content-length: 3'], 'abc'),
  '/205-with-body': head(['HTTP/1.1 205 Reset Content', 'content-length: 3'], 'abc'),
  '/304-with-length': head(['HTTP/1.1 304 Not Modified', 'content-length: 3', 'content-encoding: gzip']),
  '/101': head(['HTTP/1.1 101 Switching Protocols', 'connection: upgrade', 'upgrade: x']),
  '/100-only': head(['HTTP/1.1 100 Continue']),
  '/100-then-200': head(['HTTP/1.1 100 Continue']) + head(['HTTP/1.1 200 OK', 'content-length: 2'], 'ok'),
  '/gzip-204': head(['HTTP/1.1 204 No Content', 'content-encoding: gzip']),
};

const startOdd = async () => {
  const notes = new Notes();
  const { server, port } = await rawServer((socket, path) => {
    socket.end(odd[path.split('?', 1)[0] as string] ?? head(['HTTP/1.1 404 Not Found', 'content-length: 0']));
  });
  return { notes, server, port };
};

const oddCases: Record<string, Case> = {};
for (const path of Object.keys(odd)) {
  oddCases[`${path} as text`] = read(path, whole);
  oddCases[`${path} in a POST`] = read(path, whole, { method: 'POST', body: 'x' });
}
oddCases['/short iterated'] = read('/short', (response) => pieces(response.body));
oddCases['/204-with-body to a HEAD'] = read('/204-with-body', whole, { method: 'HEAD' });
oddCases['/status-999 cloned'] = read('/status-999', async (response) => seen(response.clone()));

describe('what a server should not say has the platform’s consequences', () => {
  compare(oddCases, startOdd);
});

describe('a server that is not there', () => {
  compare(
    {
      'refuses connections': (fetch) => fetch('http://user-service:9/'),
      'refuses connections for a POST': (fetch, base) => fetch(base, { method: 'POST', body: 'x' }),
    },
    async () => {
      const notes = new Notes();
      const { server, port } = await httpServer(notes, {});
      server.close();
      return { notes, server, port };
    },
  );
});
