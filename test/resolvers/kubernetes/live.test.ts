import { afterEach, beforeEach, expect, test } from 'vitest';
import { kubernetes } from '../../../src/resolvers/kubernetes.ts';
import { FakeCluster } from '../../../src/testing/index.ts';
import { Listening } from './listening.ts';

let cluster: FakeCluster;
let listening: Listening | undefined;

beforeEach(async () => {
  cluster = await FakeCluster.start();
});

afterEach(async () => {
  await listening?.watch.close();
  listening = undefined;
  await cluster.close();
});

function listen(target: string): Listening {
  listening = new Listening(kubernetes({ kubeconfig: cluster.kubeconfig }), target);
  return listening;
}

test("the Service's port leads to the pods' own, and pods that come and go are seen", async () => {
  const orders = await cluster.service('orders', { replicas: 3, port: 80 });
  const heard = listen('http://orders');
  await heard.until(() => heard.last?.length === 3);
  expect(heard.last?.map(({ address }) => address).sort()).toEqual(
    orders.pods.map(({ address }) => address).sort(),
  );
  expect(heard.last?.every(({ port }) => port !== 80)).toBe(true);
  expect(heard.infos.at(-1)?.source).toBe('kubernetes');
  await orders.scale(5);
  await heard.until(() => heard.last?.length === 5);
  await orders.scale(2);
  await heard.until(() => heard.last?.length === 2);
  expect(heard.errors).toEqual([]);
});

test('an outage keeps the last set, is told, and its end is told by the set once more', async () => {
  await cluster.service('orders', { replicas: 2 });
  const heard = listen('http://orders:8080');
  await heard.until(() => heard.last?.length === 2);
  await cluster.api.down();
  await heard.until(() => heard.errors.length > 0);
  expect(heard.sets).toHaveLength(1);
  expect(heard.codes[0]).toBe('STEERSMAN_ERR_UNREACHABLE');
  await cluster.api.up();
  await heard.until(() => heard.sets.length === 2);
  expect(heard.sets[1]).toHaveLength(2);
});
