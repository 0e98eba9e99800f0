/**
 * What a call costs: CPU, throughput and p99 of steersman beside what else there is, over ten endpoints, at several
 * concurrencies. Each subject has a process of its own; they take turns in rounds, and every ratio is a median of
 * ratios within a round, since the machine is never quiet for long. And each has several processes, one after another,
 * since V8 decides once per process which objects it makes among the old, which moves the cost of a call by a tenth and
 * more.
 *
 *     npm run bench [-- --processes 5 --rounds 4 --concurrency 1,50,500 --subjects steersman,platform]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Order } from './caller.ts';
import { drawing } from './drawing.ts';
import { type Sample, type Spread, spread } from './measure.ts';
import { grpcServers, httpServers } from './servers.ts';
import { limit, type Ports, platformFetch, subjects } from './subjects.ts';

const { values } = parseArgs({
  options: {
    processes: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '4' },
    concurrency: { type: 'string', default: '1,50,500' },
    subjects: { type: 'string' },
    results: { type: 'string', default: join(import.meta.dirname, '../results') },
  },
});
/** Processes of each subject, one after another. */
const processes = Number(values.processes);
/** Turns of each process at each concurrency. */
const rounds = Number(values.rounds);
const concurrencies = values.concurrency.split(',').map(Number);
const wanted = values.subjects?.split(',');

/**
 * ms that one subject takes in one round: long enough to pay for its own garbage many times over, which in shorter
 * rounds falls into some of them and out of the median; and short enough that what disturbs one disturbs its
 * neighbours, too.
 */
const roundTime = 400;
/** Calls before anything is measured: compiled code is what costs are about. */
const warmUp = 15_000;

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

/** A subject in its process. */
class Caller {
  readonly name: string;
  readonly #child: ChildProcess;

  constructor(name: string, ports: Ports) {
    this.name = name;
    this.#child = fork(join(import.meta.dirname, 'caller.ts'), [name, JSON.stringify(ports)]);
    this.#child.on('exit', (code) => {
      if (code) throw new Error(`${name} ended with ${code}`);
    });
  }

  async ready(): Promise<void> {
    await once(this.#child, 'message');
  }

  async sample(calls: number, concurrency: number): Promise<Sample> {
    const order: Order = { calls, concurrency };
    this.#child.send(order);
    const [taken] = await once(this.#child, 'message');
    return taken as Sample;
  }

  close(): void {
    this.#child.disconnect();
  }
}

/** What the subjects, each in a process of this time's, cost in this time's rounds. */
async function play(all: readonly Caller[], concurrency: number): Promise<Map<string, Sample[]>> {
  const calls = new Map<Caller, number>();
  for (const subject of all) {
    await subject.sample(warmUp, concurrency);
    const { rate } = await subject.sample(warmUp, concurrency);
    calls.set(subject, Math.max(2 * concurrency, Math.round((rate * roundTime) / 1_000)));
  }
  const taken = new Map<string, Sample[]>(all.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    // Each round in another order, so that nobody always follows the same one.
    const order = all.map(
      (_, i) => all[(i * (round % 2 === 0 ? 1 : all.length - 1) + round) % all.length] as Caller,
    );
    for (const subject of order)
      taken.get(subject.name)?.push(await subject.sample(calls.get(subject) as number, concurrency));
  }
  return taken;
}

function compared(taken: ReadonlyMap<string, readonly Sample[]>): Row[] {
  const base = taken.get(limit) as readonly Sample[];
  const fetched = taken.get(platformFetch) as readonly Sample[];
  return [...taken].map(([name, own]) => ({
    name,
    cpu: spread(own.map(({ cpu }) => cpu)),
    cpuRatio: spread(own.map(({ cpu }, i) => cpu / (base[i] as Sample).cpu)),
    cpuOfFetch: spread(own.map(({ cpu }, i) => cpu / (fetched[i] as Sample).cpu)),
    rate: spread(own.map(({ rate }) => rate)),
    p99: spread(own.map(({ p99 }) => p99)),
  }));
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
const ports = { http: servers.ports, grpc: grpc.ports };
const names = Object.keys(subjects).filter(
  (name) => name === limit || name === platformFetch || (wanted?.some((part) => name.includes(part)) ?? true),
);
/** By concurrency, then by subject, over all processes. */
const taken = new Map<number, Map<string, Sample[]>>(
  concurrencies.map((concurrency) => [concurrency, new Map(names.map((name) => [name, []]))]),
);
try {
  for (let time = 1; time <= processes; time++) {
    const all = names.map((name) => new Caller(name, ports));
    try {
      await Promise.all(all.map((caller) => caller.ready()));
      for (const concurrency of concurrencies) {
        for (const [name, samples] of await play(all, concurrency))
          taken
            .get(concurrency)
            ?.get(name)
            ?.push(...samples);
        console.error(`process ${time} of ${processes}: ${concurrency} at a time`);
      }
    } finally {
      for (const caller of all) caller.close();
    }
  }
} finally {
  servers.close();
  grpc.close();
}
const results: Record<string, Row[]> = {};
for (const [concurrency, samples] of taken) {
  const rows = compared(samples);
  results[concurrency] = rows;
  console.log(
    `\nconcurrency ${concurrency}: medians of ${processes} processes × ${rounds} rounds, quartiles in brackets\n${table(rows)}`,
  );
}

const about = {
  node: process.version,
  undici: process.versions['undici'],
  servers: servers.kind,
  cores: cpus().length,
  cpu: cpus()[0]?.model.trim(),
  processes,
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
