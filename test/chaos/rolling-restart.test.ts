import { afterAll, describe, expect, it } from 'vitest';
import { type Client, createClient } from '../../src/client/client.ts';
import type { ServiceOptions } from '../../src/client/options.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { History, type Verdict } from '../support/history.ts';
import { PodProcess } from '../support/pod-process.ts';

interface Rollout {
  readonly what: string;
  /** ms from the deletion of a pod to its SIGTERM. */
  readonly preStop: number;
  readonly onTerm: 'exit' | 'close';
  readonly signal?: 'SIGTERM' | 'SIGKILL';
  /** ms an answer takes. */
  readonly work?: number;
  readonly options?: ServiceOptions;
}

/** ms from the deletion of a pod to its absence from the set. */
const lag = 200;
const lanes = 20;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Result extends Verdict {
  readonly GET: number;
  readonly POST: number;
  /** Calls in flight at the pods when their process was told to end. */
  readonly inflight: number;
}

/** Replaces three pods one by one under load, as a Deployment does, and for as long as it takes to make `least` calls of each method. */
async function roll(
  { preStop, onTerm, signal = 'SIGTERM', work = 5, options }: Rollout,
  least: number,
): Promise<Result> {
  using history = new History();
  const start = (): Promise<PodProcess> => PodProcess.start({ kind: 'http', log: history.log, work, onTerm });
  const all = await Promise.all([start(), start(), start()]);
  const resolver = new FakeResolver(all.map(({ endpoint }) => endpoint));
  let inflight = 0;
  {
    await using client = createClient('http://orders.shop', { resolver, ...options });
    await client.ready();
    let stop = false;
    const lane = async (method: 'GET' | 'POST'): Promise<void> => {
      while (!stop) await history.call(client, method);
    };
    const load = Array.from({ length: 2 * lanes }, (_, i) => lane(i % 2 === 0 ? 'GET' : 'POST'));
    const serving = new Set(all);
    const tell = (): void => resolver.set([...serving].map(({ endpoint }) => endpoint));
    for (const old of [...serving]) {
      const fresh = await start();
      all.push(fresh);
      serving.add(fresh);
      tell();
      await pause(100);
      const removed = pause(lag).then(() => {
        serving.delete(old);
        tell();
      });
      await pause(preStop);
      inflight += inflightAt(client, old);
      old.signal(signal);
      await Promise.all([removed, old.gone()]);
    }
    const made = (method: string): number =>
      history.entries.filter((entry) => entry.method === method).length;
    while (made('GET') < least || made('POST') < least) await pause(50);
    stop = true;
    await Promise.all(load);
  }
  await Promise.all(all.map((pod) => pod[Symbol.asyncDispose]()));
  const count = (method: string): number => history.entries.filter((entry) => entry.method === method).length;
  return { ...history.check(), GET: count('GET'), POST: count('POST'), inflight };
}

function inflightAt(client: Client, pod: PodProcess): number {
  const known = client.snapshot().endpoints.find((entry) => entry.endpoint.id === pod.endpoint.id);
  return known?.inflight ?? 0;
}

const warnings: Error[] = [];
const onWarning = (warning: Error): number => warnings.push(warning);
process.on('warning', onWarning);

afterAll(() => {
  process.off('warning', onWarning);
  expect(warnings).toEqual([]);
});

describe('a rolling restart', () => {
  const graceful: Rollout[] = [
    {
      what: 'preStop longer than the propagation, the process exits at SIGTERM',
      preStop: 500,
      onTerm: 'exit',
    },
    {
      what: 'preStop longer than the propagation, the server closes at SIGTERM',
      preStop: 500,
      onTerm: 'close',
    },
    {
      what: 'preStop longer than the propagation, without retries',
      preStop: 500,
      onTerm: 'exit',
      options: { retry: false },
    },
  ];

  it.each(graceful)('$what: no call fails', { timeout: 60_000 }, async (rollout) => {
    const result = await roll(rollout, 2_000);
    expect(result).toMatchObject({ failed: { GET: 0, POST: 0 }, twice: [], missing: [] });
    expect(result.GET).toBeGreaterThanOrEqual(2_000);
    expect(result.POST).toBeGreaterThanOrEqual(2_000);
    console.log(`${rollout.what}: ${result.POST} POSTs and ${result.GET} GETs, none failed`);
  });

  const abrupt: Rollout[] = [
    { what: 'no preStop, the process exits at SIGTERM', preStop: 0, onTerm: 'exit' },
    { what: 'no preStop, the server closes at SIGTERM', preStop: 0, onTerm: 'close' },
    { what: 'no preStop, SIGKILL', preStop: 0, onTerm: 'exit', signal: 'SIGKILL' },
    {
      what: 'preStop, and answers that take longer than it',
      preStop: 300,
      onTerm: 'exit',
      work: 700,
      // Each of the three restarts may cut one attempt of a call short, wherever it is repeated.
      options: { retry: { attempts: 4 } },
    },
  ];

  it.each(abrupt)(
    '$what: no GET fails, and of the POSTs at most those in flight, ambiguously',
    { timeout: 60_000 },
    async (rollout) => {
      const result = await roll(rollout, rollout.work === undefined ? 1_000 : 60);
      expect(result).toMatchObject({ twice: [], missing: [], wronglyUnsent: [] });
      expect(result.failed.GET).toBe(0);
      expect(result.failed.POST).toBe(result.ambiguous);
      expect(result.failed.POST).toBeLessThanOrEqual(result.inflight);
      console.log(
        `${rollout.what}: ${result.failed.POST} of ${result.POST} POSTs ambiguous (${result.inflight} calls in flight), ` +
          `0 of ${result.GET} GETs failed`,
      );
    },
  );
});
