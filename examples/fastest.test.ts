// A unit test of a user's own balancer: no network, no cluster, no waiting.
import { createClient } from 'steersman';
import { backend, balancerSuite, distributionSuite, FakeResolver, FakeTransport } from 'steersman/testing';
import { describe, expect, it } from 'vitest';
import { fastest } from './fastest.ts';

describe('fastest', () => {
  balancerSuite(() => fastest, { describe, it });
  distributionSuite(() => fastest, {}, { describe, it });

  it('picks the lowest latency', () => {
    const slow = backend('10.0.0.1:80', { latency: 40 });
    const fast = backend('10.0.0.2:80', { latency: 4 });
    expect(fastest.pick([slow, fast], {})).toBe(fast);
  });

  it('lets a client go elsewhere when a pod refuses', async () => {
    const transport = new FakeTransport(({ endpoint }) =>
      endpoint.address === '10.0.0.1' ? { refuse: new Error('refused') } : { body: 'hello' },
    );
    const resolver = new FakeResolver(['10.0.0.1:80', '10.0.0.2:80']);
    await using client = createClient('http://orders.shop', { resolver, transport, balancer: fastest });
    const response = await client.fetch('/', { method: 'POST', body: 'once' });
    expect(await response.text()).toBe('hello');
    expect(transport.served()).toEqual({ '10.0.0.2:80': 1 });
  });
});
