// The API server goes away: the last known pods are used for as long as it takes, and news is caught up with after.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createClient, kubernetes } from 'steersman';
import { FakeCluster } from 'steersman/testing';

await using cluster = await FakeCluster.start();
const orders = await cluster.service('orders', { replicas: 2 });

await using client = createClient('http://orders:8080', {
  resolver: kubernetes({ kubeconfig: cluster.kubeconfig }),
});
await client.ready();

await cluster.api.down();
for (let i = 0; i < 20; i++) await (await client.fetch('/')).text();
assert.equal(
  orders.pods.reduce((sum, { served }) => sum + served, 0),
  20,
);

await orders.scale(4);
assert.equal(client.snapshot().endpoints.length, 2);

const news = new EventTarget();
client.on('endpoints', ({ endpoints }) => {
  if (endpoints.length === 4) news.dispatchEvent(new Event('caught up'));
});
await cluster.api.up();
await once(news, 'caught up');

console.log(`${client.snapshot().endpoints.length} endpoints, stale: ${client.snapshot().stale}`);
