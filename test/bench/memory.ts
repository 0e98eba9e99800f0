/**
 * What a service holds in memory: idle with 1,000 endpoints, per endpoint in use, and what a million calls leave.
 *
 *     npm run bench:memory [-- --calls 1000000]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import { createClient, createFetch, fixed } from '../../src/index.ts';
import { httpServers } from './calls/servers.ts';

const { values } = parseArgs({ options: { calls: { type: 'string', default: '1000000' } } });
const collect = globalThis.gc;
if (collect === undefined) throw new Error('run with --expose-gc');

const concurrency = 50;

/** Heap in use, in bytes, when nothing is left to collect. */
async function used(): Promise<number> {
  for (let i = 0; i < 4; i++) {
    collect?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return process.memoryUsage().heapUsed;
}

async function calls(count: number, call: () => Promise<unknown>): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

const address = (i: number): string => `10.0.${i >> 8}.${i & 255}:8080`;

const servers = await httpServers(100);
const addresses = servers.ports.map((port) => `127.0.0.1:${port}`);

// Whatever is loaded and compiled once is none of an endpoint's.
{
  const warm = createClient('http://warm', { resolver: fixed(addresses.slice(0, 1)) });
  await calls(2_000, async () => (await warm.request('/')).body.text());
  await warm.close();
}

const beforeIdle = await used();
const idle = createClient('http://idle', {
  resolver: fixed(Array.from({ length: 1_000 }, (_, i) => address(i))),
});
await idle.ready();
const idleBytes = (await used()) - beforeIdle;
await idle.close();

// Per endpoint in use, beside the pool and its socket that a user of undici alone has as well.
const each = 20;
const plain: Pool[] = servers.ports.map((port) => new Pool(`http://127.0.0.1:${port}`, { connections: 1 }));
const beforePlain = await used();
for (const pool of plain) await (await pool.request({ path: '/', method: 'GET' })).body.text();
const plainBytes = ((await used()) - beforePlain) / plain.length;
await Promise.all(plain.map((pool) => pool.close()));

const beforeActive = await used();
const active = createClient('http://active', {
  resolver: fixed(addresses),
  pool: { connections: 1 },
});
await active.ready();
await calls(servers.ports.length * each, async () => (await active.request('/')).body.text());
const connected = active.snapshot().endpoints.filter((endpoint) => endpoint.calls > 0).length;
const activeBytes = ((await used()) - beforeActive) / connected;
await active.close();

const total = Number(values.calls);
const fetched = createFetch({ resolver: fixed(addresses.slice(0, 10)) });
const call = async (): Promise<unknown> => (await fetched('http://user-service/users/42')).text();
await calls(total / 10, call);
const beforeCalls = await used();
await calls(total, call);
const grownBytes = (await used()) - beforeCalls;
await fetched.close();
servers.close();

const kilobytes = (bytes: number): string => `${(bytes / 1_024).toFixed(1)} KB`;
console.log(`an idle service of 1,000 endpoints: ${kilobytes(idleBytes)} (goal: at most 2048 KB)`);
console.log(
  `an endpoint in use: ${kilobytes(activeBytes)}, of which its connection ${kilobytes(plainBytes)}, so beside it ${kilobytes(activeBytes - plainBytes)} (goal: at most 25 KB)`,
);
console.log(`growth over ${total} calls: ${kilobytes(grownBytes)}`);

const results = join(import.meta.dirname, 'results');
mkdirSync(results, { recursive: true });
const figures = { idleBytes, activeBytes, plainConnectionBytes: plainBytes, calls: total, grownBytes };
writeFileSync(
  join(results, 'memory.json'),
  `${JSON.stringify({ node: process.version, ...figures }, undefined, 2)}\n`,
);
process.exit();
