/**
 * What a watch of a Service with 10,000 endpoints in 100 slices costs. `npm run bench:watch`; the figures are of the
 * machine it runs on, so costs are given beside that of `JSON.parse` there.
 */
import { fork } from 'node:child_process';
import { openSync, readSync } from 'node:fs';
import { cpus } from 'node:os';
import { PerformanceObserver } from 'node:perf_hooks';
import type { Endpoint } from '../../src/core/endpoint.ts';
import type { ServiceState } from '../../src/resolvers/kubernetes/service.ts';
import { readSlice, type Slice, type SliceObject } from '../../src/resolvers/kubernetes/slice.ts';
import { View } from '../../src/resolvers/kubernetes/view.ts';
import { kubernetes } from '../../src/resolvers/kubernetes.ts';
import { Listening } from '../resolvers/kubernetes/listening.ts';
import { kubeconfigFor } from '../resolvers/kubernetes/scripted-api.ts';
import { eventLine, perSlice, sliceCount, sliceObject } from './watch-server.ts';

const target = { protocol: 'http:', host: 'orders', port: 8080 };
const location = { zone: undefined, node: undefined, hints: true };
const unknownService: ServiceState = { kind: 'unreadable' };
const gc = (globalThis as { gc?: () => void }).gc;

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number;
}

const row = (what: string, value: string, goal: string): void => {
  console.log(`${what.padEnd(62)} ${value.padStart(12)}   ${goal}`);
};

/** ms this thread has been ready to run and others had the processor; known on Linux only. */
const waited: () => number = (() => {
  try {
    const file = openSync('/proc/self/schedstat', 'r');
    const text = Buffer.alloc(64);
    return () => Number(text.toString('latin1', 0, readSync(file, text, 0, 64, 0)).split(' ')[1]) / 1e6;
  } catch {
    return () => 0;
  }
})();

interface Stall {
  /** When it began, on the clock of `performance`. */
  readonly at: number;
  readonly ms: number;
  readonly waiting: number;
}

/** The times in which the event loop did not turn. */
function stalls(): { stop(): Promise<readonly (Stall & { readonly collecting: number })[]> } {
  const turns: Stall[] = [];
  const collections: { at: number; ms: number }[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries())
      collections.push({ at: startTime, ms: duration });
  });
  observer.observe({ entryTypes: ['gc'] });
  let last = performance.now();
  let lastWaited = waited();
  let running = true;
  const turn = (): void => {
    const now = performance.now();
    const nowWaited = waited();
    if (now - last > 1) turns.push({ at: last, ms: now - last, waiting: nowWaited - lastWaited });
    last = now;
    lastWaited = nowWaited;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  return {
    async stop() {
      running = false;
      // The observer is told of collections a little later.
      await new Promise((resolve) => setTimeout(resolve, 50));
      observer.disconnect();
      return turns.map((stall) => ({
        ...stall,
        collecting: collections
          .filter(({ at }) => at >= stall.at && at <= stall.at + stall.ms)
          .reduce((sum, { ms }) => sum + ms, 0),
      }));
    },
  };
}

function takeAll(view: View, slices: ReadonlyMap<string, Slice>): void {
  view.learn(unknownService);
  for (const [name, slice] of slices) view.update(name, slice);
  view.choose();
}

function filled(): { view: View; slices: Map<string, Slice> } {
  const view = new View({ target, location, family: 'both' });
  const slices = new Map<string, Slice>();
  for (let i = 0; i < sliceCount; i++) {
    const object = JSON.parse(JSON.stringify(sliceObject(i, 1))) as SliceObject;
    slices.set(`orders-${i}`, readSlice(object, `orders-${i}`, undefined));
  }
  takeAll(view, slices);
  return { view, slices };
}

/** Another pod each time a slice comes up again. */
function unreadyIn(i: number): number {
  return (i * 7 + Math.floor(i / sliceCount) * 13) % perSlice;
}

function eventCost(): void {
  const { view, slices } = filled();
  const flips = Array.from({ length: 400 }, (_, i) => ({
    name: `orders-${i % sliceCount}`,
    line: eventLine('MODIFIED', sliceObject(i % sliceCount, i + 2, unreadyIn(i))),
  }));
  const reshuffled = flips.map(({ name }, i) => {
    const object = sliceObject(i % sliceCount, 1, unreadyIn(i)) as { endpoints: object[] };
    return { name, line: eventLine('MODIFIED', { ...object, endpoints: object.endpoints.toReversed() }) };
  });
  const parseOnly: number[] = [];
  const whole: number[] = [];
  const same: number[] = [];
  const apply = ({ name, line }: { name: string; line: string }): readonly Endpoint[] => {
    const { object } = JSON.parse(line) as { object: SliceObject };
    const slice = readSlice(object, name, slices.get(name));
    if (slice !== slices.get(name)) {
      slices.set(name, slice);
      view.update(name, slice);
      view.choose();
    }
    return view.endpoints;
  };
  let kept = 0;
  for (let round = 0; round < 6; round++) {
    for (const flip of flips) {
      let start = performance.now();
      JSON.parse(flip.line);
      const parsed = performance.now() - start;
      const before = view.endpoints;
      start = performance.now();
      const after = apply(flip);
      const applied = performance.now() - start;
      if (round < 2) continue;
      parseOnly.push(parsed);
      whole.push(applied);
      if (after !== before) kept++;
    }
  }
  for (let round = 0; round < 2; round++)
    for (const [i, event] of reshuffled.entries()) {
      apply(flips[i] as { name: string; line: string });
      const before = view.endpoints;
      const start = performance.now();
      if (apply(event) !== before) throw new Error('a reshuffled slice made a new set');
      same.push(performance.now() - start);
    }
  const parse = median(parseOnly);
  row('JSON.parse of one slice of 100 endpoints, median', `${(parse * 1000).toFixed(0)} µs`, '');
  row(
    '… and all that follows a readiness flip, parsing included',
    `${(median(whole) * 1000).toFixed(0)} µs`,
    '',
  );
  row('one event ÷ JSON.parse of its line', (median(whole) / parse).toFixed(2), 'goal ≤ 1.5');
  row('a reshuffled slice that says the same ÷ JSON.parse', (median(same) / parse).toFixed(2), 'no new set');
  row('flips that made a new set', `${kept} of ${whole.length}`, '');
  const first = view.endpoints;
  apply({ name: 'orders-0', line: eventLine('MODIFIED', sliceObject(0, 9_999, 42)) });
  const known = new Set(first);
  row(
    `objects kept of ${first.length} after one flip`,
    String(view.endpoints.filter((endpoint) => known.has(endpoint)).length),
    '',
  );
}

function memory(): void {
  if (gc === undefined) return;
  const texts = Array.from({ length: sliceCount }, (_, i) => JSON.stringify(sliceObject(i, 1)));
  gc();
  gc();
  const before = process.memoryUsage().heapUsed;
  const view = new View({ target, location, family: 'both' });
  const slices = new Map<string, Slice>();
  for (const [i, text] of texts.entries())
    slices.set(`orders-${i}`, readSlice(JSON.parse(text) as SliceObject, `orders-${i}`, undefined));
  takeAll(view, slices);
  gc();
  gc();
  const used = process.memoryUsage().heapUsed - before;
  const strings = view.endpoints.reduce(
    (sum, { id, address, name = '' }) =>
      sum +
      stringSize(id) +
      stringSize(address) +
      stringSize(name) +
      stringSize(id.slice(0, 36)) +
      stringSize(address) +
      5,
    0,
  );
  const count = view.endpoints.length;
  row('heap per endpoint at rest', `${(used / count).toFixed(0)} B`, '');
  row('… beside its strings', `${((used - strings) / count).toFixed(0)} B`, 'goal ≤ 1024');
  if (slices.size !== sliceCount) throw new Error('gone');
}

/** V8: a header of 12 bytes, one byte per character, in words. */
function stringSize(text: string): number {
  return Math.ceil((12 + text.length) / 8) * 8;
}

async function overTheWire(): Promise<void> {
  const server = fork(new URL('./watch-server.ts', import.meta.url));
  const waiting = new Map<string, (value: number) => void>();
  const told = (key: string): Promise<number> => new Promise((resolve) => waiting.set(key, resolve));
  server.on('message', (message: Record<string, number>) => {
    for (const [key, value] of Object.entries(message)) waiting.get(key)?.(value);
  });
  const port = await told('port');
  const wall = (): number => performance.timeOrigin + performance.now();
  // Loads the kubeconfig parser, which costs more than all that follows and is no part of it.
  await import('@kubernetes/client-node');
  gc?.();
  for (const streaming of [true, false, true]) {
    server.send({ do: 'streaming', streaming });
    const kubeconfig = `${kubeconfigFor(`http://127.0.0.1:${port}`, 'token: t')}# ${streaming} ${Math.random()}\n`;
    // Reading the kubeconfig and connecting come first, once per process.
    const other = new Listening(kubernetes({ kubeconfig }), 'http://other:8080');
    await other.until(() => other.last !== undefined);
    const heard = new Listening(kubernetes({ kubeconfig }), 'http://orders:8080');
    const watch = stalls();
    const start = performance.now();
    await heard.until(() => heard.last !== undefined);
    const took = performance.now() - start;
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    const turns = await watch.stop();
    const longest = turns.reduce((a, b) => (b.ms - b.waiting > a.ms - a.waiting ? b : a));
    if (heard.last?.length !== sliceCount * perSlice) throw new Error(`${heard.last?.length} endpoints`);
    row(
      `first set of 10,000 by a ${streaming ? 'streaming' : 'plain'} list`,
      `${took.toFixed(0)} ms`,
      heard.sets.length === 1 ? 'in one set' : `${heard.sets.length} sets`,
    );
    row(
      '… longest stall of the event loop',
      `${(longest.ms - longest.waiting).toFixed(1)} ms`,
      `goal ≤ 10 ms; ${longest.collecting.toFixed(1)} ms in the garbage collector`,
    );
    row(
      '… longest without the garbage collector',
      `${Math.max(...turns.map(({ ms, waiting, collecting }) => ms - waiting - collecting)).toFixed(1)} ms`,
      '',
    );
    row(
      '… longest with the time others had the processor',
      `${Math.max(...turns.map(({ ms }) => ms)).toFixed(1)} ms`,
      'this machine’s load',
    );
    const delays: number[] = [];
    for (let i = 0; i < 200; i++) {
      const sets = heard.sets.length;
      const flipped = told('flipped');
      server.send({ do: 'flip', index: i % sliceCount, unready: unreadyIn(i) });
      await heard.until(() => heard.sets.length > sets);
      const at = wall();
      delays.push(at - (await flipped));
    }
    row(
      '… from the server’s write to the listener, median of 200',
      `${median(delays).toFixed(2)} ms`,
      'goal ≤ 5 ms',
    );
    row('… slowest', `${Math.max(...delays).toFixed(2)} ms`, '');
    if (streaming) {
      const [expired, listed] = [told('expired'), told('listed')];
      server.send({ do: 'expire' });
      const gone = await expired;
      row(
        '… from a 410 to the list that follows',
        `${((await listed) - gone).toFixed(0)} ms`,
        'goal ≤ 100 ms',
      );
    }
    await Promise.all([heard.watch.close(), other.watch.close()]);
  }
  server.send({ do: 'close' });
}

console.log(`Node ${process.versions.node}, ${cpus()[0]?.model ?? '?'}, ${cpus().length} cores\n`);
eventCost();
memory();
await overTheWire();
