import { afterEach, beforeEach, expect, test } from 'vitest';
import type { SliceObject } from '../../../src/resolvers/kubernetes/slice.ts';
import { kubernetes } from '../../../src/resolvers/kubernetes.ts';
import { FakeClock, FakeCluster, seeded } from '../../../src/testing/index.ts';
import { Listening } from './listening.ts';
import { restated } from './restatement.ts';

let cluster: FakeCluster;
let heard: Listening;

beforeEach(async () => {
  cluster = await FakeCluster.start({ namespace: 'shop' });
});

afterEach(async () => {
  await heard.watch.close();
  await cluster.close();
});

const names = ['orders-1', 'orders-2', 'orders-3'];
const slice = { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice' };

test.each(Array.from({ length: 24 }, (_, i) => i + 1))(
  'whatever happens to the API, in the end the set is exact: history %i',
  async (seed) => {
    const random = seeded(seed);
    const any = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const slices = new Map<string, SliceObject>();
    cluster.apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'orders', namespace: 'shop' },
      spec: { ports: [{ name: 'http', port: 80 }] },
    });

    const change = (): void => {
      const name = any(names);
      const metadata = { name, namespace: 'shop', labels: { 'kubernetes.io/service-name': 'orders' } };
      if (random() < 0.25 && slices.delete(name)) {
        cluster.delete({ ...slice, metadata });
        return;
      }
      const pods = Array.from({ length: 6 }, (_, i) => i).filter(() => random() < 0.5);
      const object: SliceObject = {
        addressType: 'IPv4',
        endpoints: pods.map((pod) => ({
          addresses: [`10.0.0.${pod}`],
          targetRef: { uid: `pod-${pod}` },
          conditions: any([
            {},
            { ready: true },
            { ready: false, serving: true, terminating: true },
            { ready: false, serving: false },
          ]),
        })),
        ports: [{ name: 'http', port: any([8080, 8081]) }],
      };
      slices.set(name, object);
      cluster.apply({ ...slice, ...object, metadata } as Parameters<FakeCluster['apply']>[0]);
    };

    const trouble: readonly (() => unknown)[] = [
      () => cluster.api.disconnect('end'),
      () => cluster.api.disconnect('reset'),
      () => cluster.api.expire(),
      () =>
        cluster.api.fail({
          status: any([401, 410, 429, 500, 503, 504]),
          ...(random() < 0.5 ? { retryAfter: 0 } : {}),
        }),
      () => cluster.api.fail({ how: any(['reset', 'close']) }),
      () => cluster.rotateToken(),
      () => cluster.api.down().then(() => cluster.api.up()),
      () => {
        cluster.api.chunkSize = any([undefined, 7, 100]);
      },
    ];

    const truth = (): string =>
      restated({
        slices,
        port: 'http',
        family: 'both',
        preferred: 4,
        zone: undefined,
        node: undefined,
        hints: true,
        local: false,
      }).join();
    // Delays pass as fast as the network lets them.
    const clock = new FakeClock();
    const exact = async (): Promise<void> => {
      const expected = truth();
      const now = (): string | undefined =>
        heard.last
          ?.map(({ id }) => id)
          .sort()
          .join();
      for (let passed = 0; now() !== expected; passed += 250) {
        if (passed > 300_000) expect(now()).toBe(expected);
        for (let i = 0; i < 40; i++) await turn();
        if (now() !== expected) await clock.advance(250);
      }
    };
    heard = new Listening(kubernetes({ kubeconfig: cluster.kubeconfig, random, clock }), 'http://orders');
    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 3; i++) {
        change();
        if (random() < 0.5) await any(trouble)();
        // Some of it meets the watch in the middle of something, some at rest.
        for (let turns = Math.floor(random() * 20); turns > 0; turns--) await turn();
      }
      if (random() < 0.5) await exact();
    }
    await exact();
    expect(cluster.api.watches).toBeLessThanOrEqual(2);
  },
  60_000,
);

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
