/**
 * What importing costs, beside importing undici alone: wall time, CPU and memory, each in processes of their own that
 * take turns. And how long the first call takes. Measured on the built package, as users import it.
 *
 *     npm run bench:cold [-- --rounds 15]
 */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Spread, spread } from './calls/measure.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } });
const rounds = Number(values.rounds);
const root = join(import.meta.dirname, '../..');

interface Cost {
  readonly ms: number;
  readonly cpu: number;
  readonly rss: number;
}

const server = createServer((_, response) => response.end('ok')).listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));
const { port } = server.address() as AddressInfo;

/** Evaluated in a fresh process, which says what it took. */
const scripts: Readonly<Record<string, string>> = {
  'import undici': `await import('undici')`,
  'import steersman': `await import(${JSON.stringify(join(root, 'dist/index.js'))})`,
  'platform fetch, first call': `await (await fetch('http://127.0.0.1:${port}/')).text()`,
  'undici request, first call': `const { request } = await import('undici'); await (await request('http://127.0.0.1:${port}/')).body.text()`,
  'steersman fetch, first call': `const { createFetch, fixed } = await import(${JSON.stringify(join(root, 'dist/index.js'))}); const f = createFetch({ resolver: fixed(['127.0.0.1:${port}']) }); await (await f('http://user-service/')).text()`,
  'steersman request, first call': `const { createClient, fixed } = await import(${JSON.stringify(join(root, 'dist/index.js'))}); const c = createClient('http://user-service', { resolver: fixed(['127.0.0.1:${port}']) }); await (await c.request('/')).body.text()`,
};

/** In a process of its own; asynchronous, since the server is in this one. */
function measure(script: string): Promise<Cost> {
  const whole = `
    const rss = process.memoryUsage().rss, cpu = process.cpuUsage(), started = performance.now();
    ${script};
    const ms = performance.now() - started, used = process.cpuUsage(cpu);
    console.log(JSON.stringify({ ms, cpu: (used.user + used.system) / 1000, rss: (process.memoryUsage().rss - rss) / 2 ** 20 }));
    process.exit();`;
  return new Promise((resolve, reject) => {
    execFile(process.execPath, ['--input-type=module', '-e', whole], { cwd: root }, (error, out) =>
      error === null ? resolve(JSON.parse(out) as Cost) : reject(error),
    );
  });
}

const taken = new Map<string, Cost[]>(Object.keys(scripts).map((name) => [name, []]));
for (let round = 0; round < rounds; round++) {
  for (const [name, script] of Object.entries(scripts)) taken.get(name)?.push(await measure(script));
}
server.close();

const costs = Object.fromEntries(
  [...taken].map(([name, list]) => [
    name,
    {
      ms: spread(list.map(({ ms }) => ms)),
      cpu: spread(list.map(({ cpu }) => cpu)),
      rss: spread(list.map(({ rss }) => rss)),
    },
  ]),
);
const base = taken.get('import undici') as Cost[];
const own = taken.get('import steersman') as Cost[];
const ratios = {
  ms: spread(own.map(({ ms }, i) => ms / (base[i] as Cost).ms)),
  cpu: spread(own.map(({ cpu }, i) => cpu / (base[i] as Cost).cpu)),
  rss: spread(own.map(({ rss }, i) => rss / (base[i] as Cost).rss)),
};

const show = ({ median, low, high }: Spread): string =>
  `${median.toFixed(1)} (${low.toFixed(1)}–${high.toFixed(1)})`;
for (const [name, { ms, cpu, rss }] of Object.entries(costs)) {
  console.log(
    `${name.padEnd(32)} ${show(ms).padStart(22)} ms  ${show(cpu).padStart(22)} ms CPU  ${show(rss).padStart(18)} MB`,
  );
}
console.log(
  `\nimport steersman ÷ import undici: ${ratios.ms.median.toFixed(2)} in time, ${ratios.cpu.median.toFixed(2)} in CPU, ${ratios.rss.median.toFixed(2)} in memory (goal: at most 1.30)`,
);
const results = join(import.meta.dirname, 'results');
mkdirSync(results, { recursive: true });
writeFileSync(
  join(results, 'cold.json'),
  `${JSON.stringify({ node: process.version, rounds, costs, ratios }, undefined, 2)}\n`,
);
