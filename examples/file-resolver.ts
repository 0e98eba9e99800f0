// A resolver of your own: endpoints from a JSON file, read again every 10 s.
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient, polling, type Resolver } from 'steersman';
import { FakeCluster } from 'steersman/testing';

export const fileResolver = (path: string): Resolver =>
  polling(async () => ({ endpoints: JSON.parse(await readFile(path, 'utf8')), ttl: 10_000 }));

await using cluster = await FakeCluster.start();
const { pods } = await cluster.service('orders', { replicas: 2, port: 8080 });
const path = join(tmpdir(), `endpoints-${process.pid}.json`);
await writeFile(
  path,
  JSON.stringify(pods.map(({ address, port }) => ({ id: `${address}:${port}`, address, port }))),
);

await using orders = createClient('http://orders.shop:8080', { resolver: fileResolver(path) });
await orders.ready();
console.log(orders.snapshot().endpoints.length, 'endpoints');
