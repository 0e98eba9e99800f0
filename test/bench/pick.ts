/**
 * ns per use of a balancer (pick, begin, release) by number of endpoints, beside two that do nothing clever; what a
 * changed endpoint costs the next pick; and heap growth over ten million picks. CPU time, because other work on the
 * machine must not count; the least of several interleaved rounds.
 *
 * npm run bench:pick [-- --json] [-- --quick]
 */
import { adaptive } from '../../src/balancers/adaptive.ts';
import { consistentHash } from '../../src/balancers/consistent-hash.ts';
import { fewest, leastConnection } from '../../src/balancers/least-connection.ts';
import { peakEwma } from '../../src/balancers/load.ts';
import { powerOfTwo } from '../../src/balancers/power-of-two.ts';
import { random } from '../../src/balancers/random.ts';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import { weightedRoundRobin } from '../../src/balancers/weighted-round-robin.ts';
import type { Backends } from '../../src/core/backend.ts';
import type { Balancer } from '../../src/core/balancer.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Outcome, Release } from '../../src/core/outcome.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { endpoint } from '../../src/testing/values.ts';

const quick = process.argv.includes('--quick');
const sizes = [3, 10, 100, 1_000, 10_000];
const uses = quick ? 50_000 : 300_000;
const rounds = quick ? 2 : 7;

/** As light as a backend can be: what is measured is the balancer. */
class Counted {
  readonly endpoint: Endpoint;
  inflight = 0;
  readonly latency = 10;
  readonly age = 60_000;

  constructor(index: number) {
    const at = endpoint(`10.${index >> 16}.${(index >> 8) & 255}.${index & 255}:80`);
    this.endpoint = { ...at, weight: 1 + (index % 3) };
  }
}

const even = (index: number): Counted => {
  const backend = new Counted(index);
  const { weight: _, ...rest } = backend.endpoint;
  return Object.assign(backend, { endpoint: rest });
};

const draw = seeded(1);
const balancers: Readonly<Record<string, () => Balancer>> = {
  'nothing (the loop itself)': () => ({ pick: (backends) => backends[0] }),
  'full scan': () => ({ pick: (backends, { tried }) => fewest(backends, tried, draw) }),
  roundRobin: () => roundRobin(),
  random: () => random(),
  weightedRoundRobin: () => weightedRoundRobin(),
  powerOfTwo: () => powerOfTwo(),
  'powerOfTwo, peakEwma': () => powerOfTwo({ load: peakEwma() }),
  leastConnection: () => leastConnection(),
  adaptive: () => adaptive(),
  consistentHash: () => consistentHash(),
  'consistentHash, bound': () => consistentHash({ boundedLoad: 1.25 }),
};

const keys = Array.from({ length: 4_096 }, (_, i) => `user-${i * 7_919}`);
const done: Outcome = { kind: 'response', status: 200, latency: 10 };

function cpu(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1_000;
}

/** Uses overlap: each ends when as many others as half of the backends have begun. */
class Load {
  readonly balancer: Balancer;
  readonly backends: Backends;
  readonly #open: (Counted | undefined)[];
  readonly #ends: (Release | undefined)[];
  readonly #request = { hashKey: '' };
  #at = 0;

  constructor(balancer: Balancer, count: number, make: (index: number) => Counted) {
    this.balancer = balancer;
    this.backends = Array.from({ length: count }, (_, i) => make(i)) as unknown as Backends;
    const open = Math.max(2, count >> 1);
    this.#open = new Array(open).fill(undefined);
    this.#ends = new Array(open).fill(undefined);
  }

  run(count: number): void {
    const { balancer, backends } = this;
    const open = this.#open;
    const ends = this.#ends;
    const request = this.#request;
    let at = this.#at;
    for (let i = 0; i < count; i++) {
      request.hashKey = keys[i & 4_095] as string;
      const picked = balancer.pick(backends, request) as Counted;
      picked.inflight++;
      const end = balancer.begin?.(picked);
      const last = open[at];
      if (last !== undefined) {
        last.inflight--;
        ends[at]?.(done);
      }
      open[at] = picked;
      ends[at] = end;
      at = at + 1 < open.length ? at + 1 : 0;
    }
    this.#at = at;
  }
}

const make = (name: string): ((index: number) => Counted) =>
  name === 'weightedRoundRobin' ? (index) => new Counted(index) : even;

const cost: Record<string, number[]> = {};
for (const [column, size] of sizes.entries()) {
  const loads = Object.entries(balancers)
    .filter(([name]) => name !== 'full scan' || size <= 1_000)
    .map(([name, balancer]) => ({ name, load: new Load(balancer(), size, make(name)) }));
  for (const { load } of loads) load.run(Math.max(uses, size * 4));
  for (let round = 0; round < rounds; round++) {
    for (const { name, load } of loads) {
      const began = cpu();
      load.run(uses);
      const each = (cpu() - began) / uses;
      const row = (cost[name] ??= new Array(sizes.length).fill(Number.POSITIVE_INFINITY));
      row[column] = Math.min(row[column] as number, each);
    }
  }
}

/** µs that the first pick after one endpoint was replaced takes. */
const rebuild: Record<string, number[]> = {};
for (const size of sizes) {
  for (const [name, balancer] of Object.entries(balancers)) {
    if (name === 'full scan' || name.startsWith('nothing')) continue;
    const load = new Load(balancer(), size, make(name));
    load.run(Math.max(1_000, size));
    let set = [...load.backends];
    let least = Number.POSITIVE_INFINITY;
    for (let change = 0; change < (quick ? 3 : 15); change++) {
      set = [...set];
      set[change % set.length] = make(name)(size + change);
      const began = performance.now();
      load.balancer.pick(set as unknown as Backends, { hashKey: 'key' });
      least = Math.min(least, performance.now() - began);
    }
    (rebuild[name] ??= []).push(least * 1_000);
  }
}

/** Bytes of heap per pick, over ten million. */
const heap: Record<string, number> = {};
for (const [name, balancer] of Object.entries(balancers)) {
  if (name === 'full scan' || typeof globalThis.gc !== 'function') continue;
  const load = new Load(balancer(), 100, make(name));
  load.run(200_000);
  globalThis.gc();
  const before = process.memoryUsage().heapUsed;
  const count = quick ? 1e6 : 1e7;
  load.run(count);
  globalThis.gc();
  heap[name] = (process.memoryUsage().heapUsed - before) / count;
}

if (process.argv.includes('--json')) {
  process.stdout.write(
    `${JSON.stringify({ node: process.version, sizes, cost, rebuild, heap }, undefined, 2)}\n`,
  );
} else {
  const line = (name: string, values: readonly (number | undefined)[], digits: number): string =>
    name.padEnd(28) + values.map((value) => (value ?? Number.NaN).toFixed(digits).padStart(10)).join('');
  const print = (text: string): void => void process.stdout.write(`${text}\n`);
  print(`ns per use, Node ${process.version}\n${line('endpoints', sizes, 0)}`);
  for (const [name, values] of Object.entries(cost)) print(line(name, values, 0));
  print('\nµs for the first pick after one endpoint was replaced');
  for (const [name, values] of Object.entries(rebuild)) print(line(name, values, 1));
  print('\nbytes of heap per pick, 100 endpoints');
  for (const [name, value] of Object.entries(heap)) print(line(name, [value], 4));
}
