// The fetch calls you have, balanced: the same URLs, the same Response. In a cluster this needs no options at all;
// here a cluster made of loopback servers stands in.
import { createFetch, kubernetes } from 'steersman';
import { FakeCluster } from 'steersman/testing';

await using cluster = await FakeCluster.start();
await cluster.service('user-service', { replicas: 3, port: 8080 });

await using fetch = createFetch({ resolver: kubernetes({ kubeconfig: cluster.kubeconfig }) });

for (let i = 0; i < 30; i++) {
  const response = await fetch(`http://user-service:8080/users/${i}`);
  await response.text();
}

const [service] = fetch.snapshot();
console.log(service?.endpoints.map(({ calls }) => `${calls} calls`).join(', '));
