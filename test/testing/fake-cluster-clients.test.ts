import {
  DiscoveryV1Api,
  KubeConfig,
  makeInformer,
  type V1EndpointSlice,
  Watch,
} from '@kubernetes/client-node';
import { expect, test } from 'vitest';
import { FakeCluster } from '../../src/testing/fake-cluster.ts';
import { eventually } from './fake-cluster-client.ts';

function config(cluster: FakeCluster): KubeConfig {
  const kubeconfig = new KubeConfig();
  kubeconfig.loadFromFile(cluster.kubeconfig);
  return kubeconfig;
}

test('the official client lists, gets, creates and deletes', async () => {
  await using cluster = await FakeCluster.start({ namespace: 'shop' });
  await cluster.service('orders', { replicas: 2 });
  const kubeconfig = config(cluster);
  expect(kubeconfig.getContextObject(kubeconfig.getCurrentContext())?.namespace).toBe('shop');
  const api = kubeconfig.makeApiClient(DiscoveryV1Api);
  const { items } = await api.listNamespacedEndpointSlice({
    namespace: 'shop',
    labelSelector: 'kubernetes.io/service-name=orders',
  });
  expect(items[0]?.endpoints?.map(({ conditions }) => conditions?.ready)).toEqual([true, true]);
  expect(items[0]?.metadata?.creationTimestamp).toBeInstanceOf(Date);
  const body: V1EndpointSlice = {
    metadata: { generateName: 'extra-' },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['127.0.0.9'] }],
    ports: [{ name: 'http', port: 8080 }],
  };
  const created = await api.createNamespacedEndpointSlice({ namespace: 'shop', body });
  const name = created.metadata?.name ?? '';
  expect(name).toMatch(/^extra-\w{5}$/);
  expect(await api.readNamespacedEndpointSlice({ namespace: 'shop', name })).toMatchObject({
    addressType: 'IPv4',
  });
  await api.deleteNamespacedEndpointSlice({ namespace: 'shop', name });
  await expect(api.readNamespacedEndpointSlice({ namespace: 'shop', name })).rejects.toMatchObject({
    code: 404,
  });
});

test('the official client watches', async () => {
  await using cluster = await FakeCluster.start();
  const path = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';
  const events: string[] = [];
  const stopped = Promise.withResolvers<void>();
  const watch = await new Watch(config(cluster)).watch(
    path,
    { allowWatchBookmarks: true },
    (type) => void events.push(type),
    () => stopped.resolve(),
  );
  const service = await cluster.service('web', { replicas: 0 });
  await service.scale(1);
  await service.delete();
  await eventually(() => events).toEqual(['BOOKMARK', 'ADDED', 'MODIFIED', 'DELETED']);
  watch.abort();
  await stopped.promise;
});

test("the official client's informer follows a service across an expired watch", async () => {
  await using cluster = await FakeCluster.start();
  const service = await cluster.service('web', { replicas: 1 });
  const kubeconfig = config(cluster);
  const api = kubeconfig.makeApiClient(DiscoveryV1Api);
  const informer = makeInformer<V1EndpointSlice>(
    kubeconfig,
    '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
    () => api.listNamespacedEndpointSlice({ namespace: 'default' }),
  );
  let known = 0;
  const note = ({ endpoints }: V1EndpointSlice): void => {
    known = endpoints?.length ?? 0;
  };
  informer.on('add', note);
  informer.on('update', note);
  await informer.start();
  await eventually(() => known).toBe(1);
  await service.scale(3);
  await eventually(() => known).toBe(3);
  cluster.api.expire();
  cluster.api.disconnect('end');
  await service.scale(2);
  await eventually(() => known).toBe(2);
  await informer.stop();
});
