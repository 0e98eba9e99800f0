/**
 * What a call costs: CPU, throughput and p99 of steersman beside what else there is, over ten endpoints, at several
 * concurrencies. The subjects take turns in short rounds, and every figure is a median of ratios within a round, since
 * the machine is never quiet for long.
 *
 *     npm run bench [-- --rounds 80 --concurrency 1,50,500 --subjects steersman,platform]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { drawing } from './drawing.ts';
import { type Sample, type Spread, sample, spread } from './measure.ts';
import { grpcServers, httpServers } from './servers.ts';
import { limit, platformFetch, type Subject, subjects } from './subjects.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '80' },
    concurrency: { type: 'string', default: '1,50,500' },
    subjects: { type: 'string' },
    results: { type: 'string', default: join(import.meta.dirname, '../results') },
  },
});
const rounds = Number(values.rounds);
const wanted = values.subjects?.split(',');

/** ms that one subject may take in one round: short, so that what disturbs one disturbs its neighbours, too. */
const roundTime = 25;
const warmUp = 1_500;

export interface Row {
  readonly name: string;
  /** µs of CPU per call. */
  readonly cpu: Spread;
  /** Of the static round-robin. */
  readonly cpuRatio: Spread;
  /** Of the platform's fetch. */
  readonly cpuOfFetch: Spread;
  /** Calls per second. */
  readonly rate: Spread;
  /** ms */
  readonly p99: Spread;
}

async function compare(all: readonly Subject[], concurrency: number): Promise<Row[]> {
  const calls = new Map<Subject, number>();
  for (const subject of all) {
    await sample(subject, warmUp, concurrency);
    const { rate } = await sample(subject, warmUp, concurrency);
    calls.set(subject, Math.max(2 * concurrency, Math.round((rate * roundTime) / 1_000)));
  }
  const taken = new Map<Subject, Sample[]>(all.map((subject) => [subject, []]));
  for (let round = 0; round < rounds; round++) {
    // Each round in another order, so that nobody always follows the same one.
    const order = all.map(
      (_, i) => all[(i * (round % 2 === 0 ? 1 : all.length - 1) + round) % all.length] as Subject,
    );
    for (const subject of order)
      taken.get(subject)?.push(await sample(subject, calls.get(subject) as number, concurrency));
  }
  const samplesOf = (name: string): Sample[] =>
    taken.get(all.find((subject) => subject.name === name) as Subject) as Sample[];
  const base = samplesOf(limit);
  const fetched = samplesOf(platformFetch);
  return all.map((subject) => {
    const own = taken.get(subject) as Sample[];
    return {
      name: subject.name,
      cpu: spread(own.map(({ cpu }) => cpu)),
      cpuRatio: spread(own.map(({ cpu }, i) => cpu / (base[i] as Sample).cpu)),
      cpuOfFetch: spread(own.map(({ cpu }, i) => cpu / (fetched[i] as Sample).cpu)),
      rate: spread(own.map(({ rate }) => rate)),
      p99: spread(own.map(({ p99 }) => p99)),
    };
  });
}

function table(rows: readonly Row[]): string {
  const number = ({ median, low, high }: Spread, digits: number): string =>
    `${median.toFixed(digits)} (${low.toFixed(digits)}–${high.toFixed(digits)})`;
  const lines = [['', 'CPU µs/call', 'of round-robin', 'of platform fetch', 'calls/s', 'p99 ms']];
  for (const row of rows) {
    lines.push([
      row.name,
      number(row.cpu, 1),
      number(row.cpuRatio, 2),
      number(row.cpuOfFetch, 2),
      number(row.rate, 0),
      number(row.p99, 2),
    ]);
  }
  const widths =
    lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  return lines
    .map((line) =>
      line
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join('  '),
    )
    .join('\n');
}

const servers = await httpServers(10);
const grpc = await grpcServers(10);
const all = (await subjects(servers.ports, grpc.ports)).filter(
  ({ name }) =>
    name === limit ||
    name === platformFetch ||
    wanted === undefined ||
    wanted.some((part) => name.includes(part)),
);
const results: Record<string, Row[]> = {};
try {
  for (const concurrency of values.concurrency.split(',').map(Number)) {
    const rows = await compare(all, concurrency);
    results[concurrency] = rows;
    console.log(
      `\nconcurrency ${concurrency}: medians of ${rounds} rounds, quartiles in brackets\n${table(rows)}`,
    );
  }
} finally {
  await Promise.all(all.map((subject) => subject.close()));
  servers.close();
  grpc.close();
}

const about = {
  node: process.version,
  undici: process.versions['undici'],
  servers: servers.kind,
  cores: cpus().length,
  cpu: cpus()[0]?.model.trim(),
  rounds,
};
mkdirSync(values.results, { recursive: true });
writeFileSync(join(values.results, 'calls.json'), `${JSON.stringify({ about, results }, undefined, 2)}\n`);
writeFileSync(join(values.results, 'calls.svg'), drawing(results, about));

const at50 = results['50'] ?? Object.values(results)[0];
const ratio = (name: string, of: 'cpuRatio' | 'cpuOfFetch'): number =>
  at50?.find((row) => row.name === name)?.[of].median ?? Number.NaN;
console.log(
  `\nsteersman request ÷ round-robin over Pools: ${ratio('steersman request', 'cpuRatio').toFixed(2)} (goal: at most 1.05)`,
);
console.log(
  `steersman fetch ÷ platform fetch: ${ratio('steersman fetch', 'cpuOfFetch').toFixed(2)} (goal: at most 0.30)`,
);
// grpc-js and the platform's fetch keep their idle connections.
process.exit();
