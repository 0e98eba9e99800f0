import { describe, expect, it } from 'vitest';
import { createClient } from '../../src/client/client.ts';
import type { ServiceOptions } from '../../src/client/options.ts';
import type { Resolver } from '../../src/core/resolver.ts';
import type { Transport } from '../../src/core/transport.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { FakeTransport } from '../../src/testing/fake-transport.ts';
import { endpoint } from '../../src/testing/values.ts';

/** A client that makes a call each second for a while; how many dispatchers it made for that. */
async function dispatchersIn(seconds: number, options: ServiceOptions): Promise<number> {
  const clock = new FakeClock();
  const fake = new FakeTransport();
  let made = 0;
  const transport: Transport = (service, at) => {
    made++;
    return fake(service, at);
  };
  const client = createClient('http://orders.shop', { clock, random: () => 0.5, transport, ...options });
  for (let second = 0; second < seconds; second++) {
    const call = client.request('/');
    await clock.advance(1_000);
    expect((await call).statusCode).toBe(200);
  }
  const closed = client.close();
  await clock.advance(0);
  await closed;
  expect(fake.requests).toHaveLength(seconds);
  expect(fake.open).toBe(0);
  expect(clock.pending).toBe(0);
  return made;
}

const watched: Resolver = {
  watch(_, { onEndpoints }) {
    queueMicrotask(() => onEndpoints([endpoint('10.0.0.1:80')], { source: 'kubernetes' }));
    return { refresh() {}, close: async () => {} };
  },
};

describe('the only endpoint of a service', () => {
  it('gets new connections every 30 s, as it may be a virtual IP', async () => {
    expect(await dispatchersIn(95, { resolver: new FakeResolver(['10.0.0.1:80']) })).toBe(4);
  });

  it('keeps its connections when it is watched: it is a pod', async () => {
    expect(await dispatchersIn(95, { resolver: watched })).toBe(1);
  });

  it('keeps them when their age is for the pools to see to', async () => {
    const resolver = new FakeResolver(['10.0.0.1:80']);
    expect(await dispatchersIn(95, { resolver, pool: { maxConnectionAge: 600_000 } })).toBe(1);
  });

  it('is none when there are two', async () => {
    expect(await dispatchersIn(95, { resolver: new FakeResolver(['10.0.0.1:80', '10.0.0.2:80']) })).toBe(2);
  });

  it('finishes the call in flight on the old connection, however long that takes, and close() waits for it', async () => {
    const clock = new FakeClock();
    const { promise: arrived, resolve: answer } = Promise.withResolvers<{ body: string }>();
    const transport = new FakeTransport(({ path }) => (path === '/slow' ? arrived : {}));
    const resolver = new FakeResolver(['10.0.0.1:80']);
    const client = createClient('http://orders.shop', {
      clock,
      transport,
      resolver,
      timeout: { total: 600_000 },
    });
    const slow = client.request('/slow');
    await clock.advance(35_000);
    expect((await client.request('/')).statusCode).toBe(200);
    expect(transport.open).toBe(1);
    await clock.advance(300_000);
    expect(transport.open).toBe(1);
    expect(transport.requests).toHaveLength(2);
    let closed = false;
    const closing = client.close().then(() => {
      closed = true;
    });
    await clock.advance(10);
    expect(closed).toBe(false);
    answer({ body: 'late' });
    expect(await (await slow).body.text()).toBe('late');
    await clock.advance(10);
    await closing;
    // The balancer looks at what is in flight each 100 ms, once more when nothing is.
    await clock.advance(100);
    expect(clock.pending).toBe(0);
  });
});
