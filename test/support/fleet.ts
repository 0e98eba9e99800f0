import { type Client, createClient } from '../../src/client/client.ts';
import type { ServiceOptions } from '../../src/client/options.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { History } from './history.ts';
import { PodProcess, type PodProgramOptions } from './pod-process.ts';

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A set of pods in processes of their own, whose executions are logged. */
export class Fleet implements AsyncDisposable {
  readonly history: History = new History();
  readonly pods: PodProcess[] = [];

  static async start(count: number, options: Partial<PodProgramOptions> = {}): Promise<Fleet> {
    const fleet = new Fleet();
    const start = (): Promise<PodProcess> =>
      PodProcess.start({ kind: 'http', work: 2, log: fleet.history.log, ...options });
    fleet.pods.push(...(await Promise.all(Array.from({ length: count }, start))));
    return fleet;
  }

  get endpoints(): Endpoint[] {
    return this.pods.map(({ endpoint }) => endpoint);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.pods.map((pod) => pod[Symbol.asyncDispose]()));
    this.history[Symbol.dispose]();
  }
}

/** A client with little patience. */
export function clientOf(endpoints: readonly Endpoint[], options: ServiceOptions = {}): Client {
  return createClient('http://orders.shop', {
    resolver: new FakeResolver(endpoints),
    timeout: { total: 2_000, attempt: 500 },
    ...options,
  });
}

/** So many calls from 20 callers, half of them POSTs. */
export async function load(client: Client, history: History, calls: number, gap = 0): Promise<void> {
  const lane = async (i: number): Promise<void> => {
    for (let n = 0; n < calls / 20; n++) {
      await history.call(client, i % 2 === 0 ? 'GET' : 'POST');
      if (gap > 0) await pause(gap);
    }
  };
  await Promise.all(Array.from({ length: 20 }, (_, i) => lane(i)));
}
