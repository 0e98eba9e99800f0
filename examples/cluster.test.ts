// A test of your own code against a cluster that misbehaves: real servers on loopback, no Kubernetes.
import { createFetch, kubernetes } from 'steersman';
import { FakeCluster } from 'steersman/testing';
import { expect, test } from 'vitest';

test('callers see neither the pod that fails nor the one that dies', async () => {
  await using cluster = await FakeCluster.start({ namespace: 'shop' });
  // The Role the app has in production: whatever else it asked for would be refused.
  cluster.api.rules = [
    {
      apiGroups: ['discovery.k8s.io'],
      resources: ['endpointslices'],
      verbs: ['list', 'watch'],
      namespaces: ['shop'],
    },
  ];
  const { pods } = await cluster.service('orders', { replicas: 3, port: 80 });
  await using fetch = createFetch({ resolver: kubernetes({ kubeconfig: cluster.kubeconfig }) });

  const [first, second, third] = pods;
  if (first) first.failure = { status: 503 };
  for (let i = 0; i < 10; i++) expect((await fetch('http://orders/')).status).toBe(200);

  second?.kill();
  for (let i = 0; i < 10; i++) expect((await fetch('http://orders/')).status).toBe(200);
  expect(third?.served).toBeGreaterThan(10);
  const allowed = cluster.api.requests.filter(({ status }) => status === 200);
  expect(new Set(allowed.map(({ resource }) => resource))).toEqual(new Set(['endpointslices']));
});
