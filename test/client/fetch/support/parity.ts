import dns, { type LookupOptions } from 'node:dns';
import type { Server } from 'node:http';
import type { Server as NetServer } from 'node:net';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { createFetch, type Fetch } from '../../../../src/client/fetch.ts';
import { fixed } from '../../../../src/resolvers/fixed.ts';
import { type Fetching, outcome } from './observe.ts';
import type { Notes, SeenRequest } from './servers.ts';

/** The platform's own, whatever a test does to the global later. */
export const platform: Fetching = globalThis.fetch;

/** Names of services and of public hosts: all of them are here. */
export const serviceHost = 'user-service';
export const publicHost = 'www.example.com';

type LookupCallback = (error: Error | null, address: unknown, family?: number) => void;

/** The platform resolves any name to loopback, as cluster DNS would resolve a service's. */
export function loopbackNames(): void {
  const lookup = (_name: string, options: LookupOptions, callback: LookupCallback): void => {
    const address = { address: '127.0.0.1', family: 4 };
    process.nextTick(() =>
      options.all ? callback(null, [address]) : callback(null, address.address, address.family),
    );
  };
  vi.spyOn(dns, 'lookup').mockImplementation(lookup as never);
}

/** A fetch that takes the first endpoint's answer as it is, so that one call is one request. */
export function plainFetch(ports: () => readonly number[], otherServices: readonly string[] = []): Fetch {
  const one = { retry: false, timeout: { total: Number.POSITIVE_INFINITY } } as const;
  return createFetch({
    ...one,
    services: Object.fromEntries(
      [serviceHost, ...otherServices].map((host) => [
        host,
        {
          resolver: {
            watch: (target, listener) =>
              fixed([`127.0.0.1:${target.port ?? ports()[0]}`]).watch(target, listener),
          },
        },
      ]),
    ),
  });
}

export type Case = (fetch: Fetching, base: string) => unknown;

export interface Side {
  readonly result: unknown;
  readonly requests: readonly SeenRequest[];
}

/** Runs a case with one fetch, and takes what the server noted meanwhile. */
export async function side(run: Case, fetch: Fetching, base: string, notes: Notes): Promise<Side> {
  notes.take();
  const result = await outcome(() => run(fetch, base));
  return { result, requests: notes.take().map(normal) };
}

/** A multipart boundary is random; its form is not. */
function normal(request: SeenRequest): SeenRequest {
  const plain = (text: string): string =>
    text.replace(/(----formdata-undici-0)(\d+)/g, (_, start, digits) => `${start}<${digits.length} digits>`);
  return {
    ...request,
    headers: request.headers.map(([name, value]) => [name, plain(value)]),
    body: plain(request.body),
  };
}

export interface Stage {
  readonly notes: Notes;
  readonly server: Server | NetServer;
  readonly port: number;
  readonly protocol?: string;
}

const bundled = Number.parseInt(process.versions['undici'] ?? '0', 10);

/**
 * Registers one test per case: both fetches, one after the other, see and send the same. `not22`, `not24`: cases in
 * which the platform's fetch of that Node is alone with what it does, as the others do otherwise.
 */
export function compare(
  cases: Readonly<Record<string, Case>>,
  start: () => Promise<Stage>,
  options: {
    readonly host?: string;
    readonly others?: readonly string[];
    readonly not22?: RegExp;
    readonly not24?: RegExp;
  } = {},
): void {
  let stage: Stage;
  let wrapped: Fetch;
  beforeAll(async () => {
    loopbackNames();
    stage = await start();
    wrapped = plainFetch(() => [stage.port], options.others);
  });
  afterAll(async () => {
    await wrapped.close();
    (stage.server as Server).closeAllConnections?.();
    stage.server.close();
    vi.restoreAllMocks();
  });
  for (const [name, run] of Object.entries(cases)) {
    const alone = bundled < 7 ? options.not22 : bundled === 7 ? options.not24 : undefined;
    const skipped = alone?.test(name) === true;
    it.skipIf(skipped)(name, async () => {
      const base = `${stage.protocol ?? 'http:'}//${options.host ?? serviceHost}:${stage.port}`;
      const expected = await side(run, platform, base, stage.notes);
      const actual = await side(run, wrapped as Fetching, base, stage.notes);
      expect(actual).toEqual(expected);
    });
  }
}
