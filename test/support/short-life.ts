import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createClient } from '../../src/client/client.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';

/** A process with a short life: tells what happened, and should then end by itself. */
const how = process.argv[2];

const server = createServer((request, response) => {
  if (request.url !== '/hang') response.end('ok');
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const port = process.argv[3] ?? String((server.address() as AddressInfo).port);
// Only the client's own doings may keep the process alive.
server.unref();
server.on('connection', (socket) => socket.unref());

const dead = how === 'has a dead resolver';
const client = createClient('http://orders.shop', {
  resolver: new FakeResolver(dead ? undefined : [`127.0.0.1:${port}`]),
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
  await Promise.all(
    Array.from({ length: 200 }, async () => {
      const told = await call();
      codes[told] = (codes[told] ?? 0) + 1;
    }),
  );
  const after = await call();
  await client.close();
  process.stdout.write(JSON.stringify({ codes, after }));
} else {
  const told = await call();
  const hung = how === 'closes while a call hangs' ? call('/hang') : undefined;
  if (how !== 'forgets to close') await client.close();
  await hung;
  process.stdout.write(JSON.stringify({ told, idleSince: Date.now() }));
}
