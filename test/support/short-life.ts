import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createClient } from '../../src/client/client.ts';
import type { Attempt } from '../../src/core/errors.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';

/** A process with a short life: tells what happened, and should then end by itself. */
const how = process.argv[2];

const server = createServer((request, response) => {
  if (request.url === '/endless') response.write(Buffer.alloc(1024 * 1024));
  else if (request.url !== '/hang') response.end('ok');
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const given = process.argv.slice(3);
const ports = given.length > 0 ? given : [String((server.address() as AddressInfo).port)];
// Only the client's own doings may keep the process alive.
server.unref();
server.on('connection', (socket) => socket.unref());

const dead = how === 'has a dead resolver';
const client = createClient('http://orders.shop', {
  resolver: new FakeResolver(dead ? undefined : ports.map((port) => `127.0.0.1:${port}`)),
  timeout: { resolve: 300 },
  pool: { drainTimeout: 500 },
});

async function call(path = '/'): Promise<string> {
  try {
    const { body } = await client.request(path);
    return await body.text();
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

if (how === 'starves') {
  const codes: Record<string, number> = {};
  const classes: Record<string, number> = {};
  let ejected = 0;
  client.on('ejected', () => ejected++);
  const starve = async (method: 'GET' | 'POST'): Promise<void> => {
    let told = 'ok';
    try {
      const { body } = await client.request({ path: '/', method });
      await body.text();
    } catch (error) {
      const { code, attempts = [] } = error as { code?: string; attempts?: readonly Attempt[] };
      told = code ?? String(error);
      for (const attempt of attempts) classes[attempt.class] = (classes[attempt.class] ?? 0) + 1;
    }
    codes[told] = (codes[told] ?? 0) + 1;
  };
  // undici reads its parser from a file at the first connection, and this is no test of that.
  await call();
  await Promise.all(Array.from({ length: 300 }, (_, i) => starve(i % 2 === 0 ? 'GET' : 'POST')));
  // undici frees a connection a turn after the body's end.
  await new Promise((resolve) => setTimeout(resolve, 5));
  const after = await Promise.all(Array.from({ length: 10 }, () => call()));
  await client.close();
  process.stdout.write(JSON.stringify({ codes, classes, ejected, after }));
} else {
  const told = await call();
  const hung = how === 'closes while a call hangs' ? call('/hang') : undefined;
  if (how === 'closes while nobody reads a body') await client.request('/endless');
  if (how !== 'forgets to close') await client.close();
  await hung;
  process.stdout.write(JSON.stringify({ told, idleSince: Date.now() }));
}
