import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import { createClient } from '../../src/client/client.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';

/** Run in a network namespace of its own: calls a service of which two pods out of three cannot be reached. */
const [noHost, noNet] = process.argv.slice(2) as [string, string];
let executed = 0;
const server = createServer((request, response) => {
  request.resume();
  executed++;
  response.end('ok');
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const good = `127.0.0.1:${(server.address() as AddressInfo).port}`;

const seen = new Set<string>();
const probe = async (address: string): Promise<void> => {
  const alone = createClient('http://orders.shop', { resolver: new FakeResolver([address]), retry: false });
  await alone.request('/').catch((error: { code?: string }) => seen.add(error.code ?? ''));
  await alone.close();
};
await probe(`${noHost}:80`);
await probe(`${noNet}:80`);

const client = createClient('http://orders.shop', {
  resolver: new FakeResolver([`${noHost}:80`, `${noNet}:80`, good]),
  balancer: roundRobin(),
});
let failed = 0;
let slowest = 0;
for (let i = 0; i < 200; i++) {
  const started = performance.now();
  try {
    const { body } = await client.request({ path: '/', method: i % 2 === 0 ? 'GET' : 'POST' });
    await body.dump();
  } catch {
    failed++;
  }
  slowest = Math.max(slowest, performance.now() - started);
}
await client.close();
server.close();
process.stdout.write(JSON.stringify({ codes: [...seen], failed, executed, slowest }));
