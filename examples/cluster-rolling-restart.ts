// Every pod is replaced while the service is called: no call fails, POSTs included.
import assert from 'node:assert/strict';
import { createFetch, kubernetes } from 'steersman';
import { FakeCluster } from 'steersman/testing';

await using cluster = await FakeCluster.start({ propagation: 50 });
const orders = await cluster.service('orders', { replicas: 3, latency: 5 });
const before = orders.pods.map(({ name }) => name);

await using fetch = createFetch({ resolver: kubernetes({ kubeconfig: cluster.kubeconfig }) });

let calls = 0;
let failed = 0;
let restarting = true;
const caller = async (): Promise<void> => {
  while (restarting) {
    const response = await fetch('http://orders:8080/', { method: 'POST', body: `order ${++calls}` });
    if (!response.ok) failed++;
    await response.text();
  }
};
const callers = Array.from({ length: 5 }, caller);

// preStop is longer than it takes the endpoints to change (propagation) and callers to hear of it.
await orders.rollingRestart({ preStop: 300, grace: 5_000 });
restarting = false;
await Promise.all(callers);

assert(orders.pods.every(({ name }) => !before.includes(name)));
assert.equal(failed, 0);
console.log(`${calls > 100 ? 'more than 100' : calls} calls, ${failed} failed`);
