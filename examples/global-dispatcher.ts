// Everything that takes an undici Dispatcher: the global fetch, undici.request, WebSocket, EventSource.
import { fixed, roundRobin, ServiceAgent } from 'steersman';
import { FakeCluster } from 'steersman/testing';
import { getGlobalDispatcher, request, setGlobalDispatcher } from 'undici';

await using cluster = await FakeCluster.start();
const { pods } = await cluster.service('orders', { replicas: 2, port: 8080 });

const before = getGlobalDispatcher();
const agent = new ServiceAgent({
  services: {
    'orders.shop': {
      resolver: fixed(pods.map(({ address, port }) => ({ address, port }))),
      balancer: roundRobin(),
    },
  },
});
setGlobalDispatcher(agent);

const fetched = await fetch('http://orders.shop:8080/a');
console.log(fetched.status);
await fetched.text();
const { statusCode, body } = await request('http://orders.shop:8080/b');
await body.dump();
console.log(
  statusCode,
  agent
    .snapshot()[0]
    ?.endpoints.map(({ calls }) => calls)
    .join(' + '),
  'calls',
);

setGlobalDispatcher(before);
await agent.close();
