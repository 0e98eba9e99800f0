import { describe, it } from 'vitest';
import { type KubernetesOptions, kubernetes } from '../../../src/resolvers/kubernetes.ts';
import { FakeCluster, type ResolverSubject, resolverSuite } from '../../../src/testing/index.ts';

for (const source of ['endpointslices', 'endpoints'] as const)
  describe(`kubernetes from ${source}`, () => {
    resolverSuite(() => onCluster({ source }), { describe, it });
  });

async function onCluster(options: KubernetesOptions): Promise<ResolverSubject> {
  const cluster = await FakeCluster.start({ namespace: 'shop' });
  cluster.apply({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'orders', namespace: 'shop' },
    spec: { ports: [{ name: 'http', port: 8080 }] },
  });
  return {
    resolver: kubernetes({ kubeconfig: cluster.kubeconfig, ...options }),
    async set(addresses) {
      await cluster.api.up();
      cluster.apply({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: 'orders-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'orders' } },
        addressType: 'IPv4',
        endpoints: addresses.map((address) => ({ addresses: [address] })),
        ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      });
      cluster.apply({
        apiVersion: 'v1',
        kind: 'Endpoints',
        metadata: { name: 'orders', namespace: 'shop' },
        subsets: [{ addresses: addresses.map((ip) => ({ ip })), ports: [{ name: 'http', port: 8080 }] }],
      });
    },
    fail: () => cluster.api.down(),
    close: () => cluster.close(),
  };
}
