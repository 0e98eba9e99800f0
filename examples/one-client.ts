// One client per service, with its own balancer, timeouts and retries.
import { consistentHash, createClient, kubernetes } from 'steersman';
import { FakeCluster } from 'steersman/testing';

await using cluster = await FakeCluster.start();
await cluster.service('orders', { namespace: 'shop', replicas: 3, port: 8080 });

await using orders = createClient('http://orders.shop:8080', {
  resolver: kubernetes({ kubeconfig: cluster.kubeconfig }),
  balancer: consistentHash(),
  timeout: { total: 2_000, attempt: 500 },
  retry: { attempts: 3, budget: { ratio: 0.2, minPerSecond: 10 } },
});
await orders.ready({ signal: AbortSignal.timeout(5_000) });

orders.on('endpoints', ({ added, removed }) => console.log(`+${added.length} −${removed.length}`));

// Calls with the same key go to the same pod.
const response = await orders.fetch('/v1/orders', {
  method: 'POST',
  body: 'tea',
  hashKey: 'user-7',
  idempotent: true,
});
console.log(response.status);

// undici.request's shape: several times cheaper than fetch.
const { statusCode, body } = await orders.request({ path: '/v1/orders', hashKey: 'user-7' });
await body.dump();
console.log(statusCode, orders.snapshot().endpoints.filter(({ calls }) => calls > 0).length, 'pod used');
