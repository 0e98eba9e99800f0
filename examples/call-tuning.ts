// A client for calls that must be quick: deadlines, hedging, limits and a circuit around the whole service.
import { createClient, isDiscoveryError, kubernetes } from 'steersman';
import { FakeCluster } from 'steersman/testing';

await using cluster = await FakeCluster.start();
const quotes = await cluster.service('quotes', { replicas: 3 });
const [slow] = quotes.pods;

await using client = createClient('http://quotes:8080', {
  resolver: kubernetes({ kubeconfig: cluster.kubeconfig }),
  // 1 s in all, 300 ms for one attempt; the pods are told what is left.
  timeout: { total: 1_000, attempt: 300, header: 'x-deadline-ms' },
  // A second pod is asked when the first takes longer than 50 ms. Paid for from the retry budget.
  hedge: { delay: 50 },
  retry: { attempts: 3, budget: { ratio: 0.2, minPerSecond: 10 } },
  // At most 20 connections to each pod, and 50 calls that wait for one.
  pool: { connections: 20 },
  queue: { endpoint: 50 },
  // When half of the calls fail, all fail at once for 5 s, rather than after a second each.
  circuit: { service: { rate: 0.5, volume: 20, reset: 5_000 } },
});

await client.ready();
if (slow !== undefined) slow.latency = 10_000;
const started = performance.now();
for (let i = 0; i < 10; i++) await (await client.fetch('/quotes/eur')).text();
console.log(performance.now() - started < 1_000 ? '10 quick answers' : 'slow');

if (slow !== undefined) slow.latency = 0;
const { body } = await client.request({ path: '/quotes', method: 'POST', body: '{}', idempotent: true });
await body.dump();

await client.close();
await client.fetch('/quotes/eur').catch((error: unknown) => {
  if (isDiscoveryError(error)) console.log(error.code);
});
