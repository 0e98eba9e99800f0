import { promisify } from 'node:util';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe } from 'vitest';
import { outcome, pieces, seen } from './support/observe.ts';
import { type Case, compare } from './support/parity.ts';
import { httpServer, Notes, type Route } from './support/servers.ts';

const text = 'compressed ü €, '.repeat(20);
const large = Buffer.from(Array.from({ length: 900_000 }, (_, i) => (i * 7919) % 251));
const pause = promisify(setImmediate);

const encoders: Record<string, (data: Buffer) => Buffer> = {
  gzip: (data) => gzipSync(data),
  'x-gzip': (data) => gzipSync(data),
  deflate: (data) => deflateSync(data),
  br: (data) => brotliCompressSync(data),
  zstd: (data) => zstdCompressSync(data),
  identity: (data) => data,
};

const answers: Record<string, { encoding: string | string[]; body: Buffer; pieces?: boolean }> = {};
for (const [name, encode] of Object.entries(encoders)) {
  const body = encode(Buffer.from(text));
  answers[name] = { encoding: name, body };
  answers[`${name}-large`] = { encoding: name, body: encode(large) };
  answers[`${name}-pieces`] = { encoding: name, body, pieces: true };
  answers[`${name}-empty`] = { encoding: name, body: encode(Buffer.alloc(0)) };
  answers[`${name}-no-bytes`] = { encoding: name, body: Buffer.alloc(0) };
  answers[`${name}-cut`] = { encoding: name, body: body.subarray(0, body.length - 6) };
  answers[`${name}-corrupt`] = {
    encoding: name,
    body: Buffer.concat([
      body.subarray(0, body.length >> 1),
      Buffer.alloc(20, 0xa5),
      body.subarray(body.length >> 1),
    ]),
  };
  answers[`${name}-nonsense`] = { encoding: name, body: Buffer.from('this is not compressed at all') };
  answers[`${name}-tail`] = { encoding: name, body: Buffer.concat([body, Buffer.from('trailing')]) };
}
const plain = Buffer.from(text);
Object.assign(answers, {
  'deflate-raw': { encoding: 'deflate', body: deflateRawSync(plain) },
  'deflate-raw-pieces': { encoding: 'deflate', body: deflateRawSync(plain), pieces: true },
  'gzip-twice': { encoding: 'gzip, gzip', body: gzipSync(gzipSync(plain)) },
  'gzip-then-br': { encoding: 'gzip, br', body: brotliCompressSync(gzipSync(plain)) },
  'deflate-gzip-br': {
    encoding: 'deflate,gzip , br',
    body: brotliCompressSync(gzipSync(deflateSync(plain))),
  },
  'upper-case': { encoding: 'GZip', body: gzipSync(plain) },
  'five-layers': {
    encoding: 'gzip,gzip,gzip,gzip,gzip',
    body: [1, 2, 3, 4, 5].reduce((data) => gzipSync(data), plain),
  },
  'six-layers': {
    encoding: 'gzip,gzip,gzip,gzip,gzip,gzip',
    body: [1, 2, 3, 4, 5, 6].reduce((data) => gzipSync(data), plain),
  },
  unknown: { encoding: 'compress', body: plain },
  'unknown-over-gzip': { encoding: 'gzip, compress', body: gzipSync(plain) },
  'gzip-over-unknown': { encoding: 'compress, gzip', body: gzipSync(plain) },
  'no-name': { encoding: '', body: plain },
  'two-headers': { encoding: ['deflate', 'gzip'], body: gzipSync(deflateSync(plain)) },
  'two-headers-six-layers': { encoding: ['gzip,gzip,gzip', 'gzip,gzip,gzip'], body: plain },
  'two-headers-unknown': { encoding: ['compress', 'gzip'], body: gzipSync(plain) },
  commas: { encoding: ', gzip', body: gzipSync(plain) },
  'two-members': { encoding: 'gzip', body: Buffer.concat([gzipSync('one '), gzipSync('two')]) },
  'not-encoded': { encoding: 'gzip', body: plain },
});

const start = async () => {
  const notes = new Notes();
  const routes: Record<string, Route> = {};
  for (const [name, { encoding, body, pieces: split }] of Object.entries(answers)) {
    routes[`/${name}`] = async (_, response) => {
      response.setHeader('content-encoding', encoding);
      response.setHeader('content-type', 'text/plain');
      if (!split) {
        response.end(body);
        return;
      }
      for (let at = 0; at < body.length; at += 7) {
        response.write(body.subarray(at, at + 7));
        await pause();
      }
      response.end();
    };
    routes[`/status-404/${name}`] = (_, response) => {
      response.setHeader('content-encoding', encoding);
      response.writeHead(404).end(body);
    };
  }
  const { server, port } = await httpServer(notes, routes);
  return { notes, server, port };
};

const read =
  (path: string, how: (response: Response) => unknown, init?: RequestInit): Case =>
  async (fetch, base) => {
    const response = await fetch(`${base}${path}`, init);
    return { ...seen(response), result: await outcome(() => how(response)), used: response.bodyUsed };
  };

const digest = async (response: Response): Promise<unknown> => {
  const bytes = new Uint8Array(await response.arrayBuffer());
  let sum = 0;
  for (const byte of bytes) sum = (Math.imul(sum, 31) + byte) | 0;
  return [bytes.length, sum];
};

const cases: Record<string, Case> = {};
for (const name of Object.keys(answers)) cases[name] = read(`/${name}`, digest);
for (const name of ['gzip', 'deflate', 'br', 'zstd']) {
  cases[`${name} as text`] = read(`/${name}`, (response) => response.text());
  cases[`${name} iterated`] = read(`/${name}-pieces`, (response) => pieces(response.body));
  cases[`${name} cloned`] = read(`/${name}`, async (response) => {
    const copy = response.clone();
    return [await copy.text(), await response.text()];
  });
  cases[`${name} to a HEAD`] = read(`/${name}`, (response) => response.text(), { method: 'HEAD' });
  cases[`${name} of a 404`] = read(`/status-404/${name}`, (response) => response.text());
  cases[`${name} with an accept-encoding of one’s own`] = read(`/${name}`, (response) => response.text(), {
    headers: { 'accept-encoding': name },
  });
  cases[`${name} cancelled`] = read(`/${name}-large`, async (response) => {
    const reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    const { value } = await reader.read();
    await reader.cancel('enough');
    return (value?.byteLength ?? 0) > 0;
  });
  cases[`${name} corrupt, iterated`] = read(`/${name}-nonsense`, (response) => pieces(response.body));
}

describe('a compressed response of a service is read as the platform reads it', () => {
  compare(cases, start);
});
