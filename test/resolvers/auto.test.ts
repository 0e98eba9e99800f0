import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DiscoveryWarning } from '../../src/core/errors.ts';
import { type AutoOptions, auto } from '../../src/resolvers/auto.ts';
import { FakeClock, FakeCluster, seeded } from '../../src/testing/index.ts';
import { closedWhenRefused, Listening } from './kubernetes/listening.ts';
import { DnsServer } from './support/dns-server.ts';

let cluster: FakeCluster;
let server: DnsServer;
let heard: Listening | undefined;

// Reading a kubeconfig loads a large package, which may take longer than the API server is waited for.
beforeAll(async () => {
  await import('@kubernetes/client-node');
});

beforeEach(async () => {
  cluster = await FakeCluster.start({ namespace: 'shop' });
  server = await DnsServer.start();
  server.on('*', 'ANY', 'NXDOMAIN');
});

afterEach(async () => {
  await heard?.watch.close();
  heard = undefined;
  await cluster.close();
  await server.close();
});

function listen(target: string, options: AutoOptions = {}): Listening {
  const { kubeconfig } = cluster;
  heard = new Listening(
    auto({ kubeconfig, servers: [server.address], search: [], hosts: false, ...options }),
    target,
  );
  return heard;
}

const warnings = ({ errors }: Listening): string[] =>
  errors.filter((error) => error instanceof DiscoveryWarning).map(({ message }) => message);

/** Moves the clock step by step, with time for the network in between. */
async function pass(clock: FakeClock, ms: number, step: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += step) {
    await clock.advance(step);
    for (let i = 0; i < 40; i++) await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('auto, given a cluster', () => {
  test('watches, and asks DNS nothing', async () => {
    await cluster.service('orders', { replicas: 2 });
    const heard = listen('http://orders:8080');
    await heard.until(() => heard.last?.length === 2);
    expect(heard.infos.at(-1)?.source).toBe('kubernetes');
    expect(heard.errors).toEqual([]);
    expect(server.asked).toEqual([]);
  });

  test('asks DNS for a bare name in the namespace that the options name', async () => {
    server.addresses('orders', ['10.0.0.1']);
    server.addresses('orders.bank.svc.cluster.local', ['10.0.0.2']);
    cluster.api.rules = [];
    const heard = listen('http://orders:8080', { namespace: 'bank' });
    await heard.until(() => heard.last !== undefined);
    expect(heard.addresses).toEqual(['10.0.0.2:8080']);
    expect(server.count('A', 'orders')).toBe(0);
  });

  test('asks DNS where the watch is forbidden, says so, and comes back when it is allowed', async () => {
    await cluster.service('orders', { replicas: 2 });
    server.addresses('orders.shop', ['10.0.0.1']);
    cluster.api.rules = [];
    const clock = new FakeClock();
    const heard = listen('http://orders.shop:8080', { clock, random: seeded(1) });
    await heard.until(() => heard.last !== undefined);
    expect(heard.addresses).toEqual(['10.0.0.1:8080']);
    expect(heard.infos.at(-1)?.source).toBe('dns');
    await heard.until(() => warnings(heard).length > 0);
    expect(warnings(heard)[0]).toMatch(
      /^orders\.shop:8080 is asked of DNS until it can be watched: may not watch endpointslices/,
    );
    cluster.api.rules = [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }];
    await pass(clock, 61_000, 1_000);
    await heard.until(() => heard.infos.at(-1)?.source === 'kubernetes');
    expect(heard.last).toHaveLength(2);
    // Without a gap: no set in between is empty.
    expect(heard.sets.every((set) => set.length > 0)).toBe(true);
  });

  test('asks DNS while the API server cannot be reached, and comes back', async () => {
    await cluster.service('orders', { replicas: 2 });
    server.addresses('orders.shop', ['10.0.0.1']);
    await cluster.api.down();
    const heard = listen('http://orders.shop:8080');
    await heard.until(() => heard.infos.at(-1)?.source === 'dns');
    expect(warnings(heard)[0]).toContain('ECONNREFUSED');
    await cluster.api.up();
    await heard.until(() => heard.infos.at(-1)?.source === 'kubernetes');
    expect(heard.last).toHaveLength(2);
  });

  test('asks DNS while the API server does not answer', async () => {
    server.addresses('orders.shop', ['10.0.0.1']);
    cluster.api.stall();
    const heard = listen('http://orders.shop:8080');
    await heard.until(() => heard.infos.at(-1)?.source === 'dns');
    await heard.until(() =>
      warnings(heard).some((message) => message.includes('the API server has not answered yet')),
    );
  });

  test('keeps the set of the watch through an outage, and does not ask DNS then', async () => {
    await cluster.service('orders', { replicas: 2 });
    const heard = listen('http://orders.shop:8080');
    await heard.until(() => heard.last?.length === 2);
    await cluster.api.down();
    await heard.until(() => heard.errors.length > 0);
    expect(heard.sets).toHaveLength(1);
    expect(server.asked).toEqual([]);
  });

  test('asks DNS for a Service of type ExternalName', async () => {
    cluster.apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'legacy', namespace: 'shop' },
      spec: { type: 'ExternalName', externalName: 'db.example.com' },
    });
    server.addresses('legacy.shop', ['10.0.0.7']);
    const heard = listen('http://legacy.shop:80');
    await heard.until(() => heard.last !== undefined);
    expect(heard.addresses).toEqual(['10.0.0.7:80']);
  });

  test('goes over to DNS when a Service becomes an ExternalName, or may not be watched any more', async () => {
    const orders = (spec: object): void =>
      void cluster.apply({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'orders', namespace: 'shop' },
        spec,
      });
    const slice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'orders-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'orders' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.1.0.1'] }],
      ports: [{ name: 'http', port: 8080 }],
    };
    orders({ ports: [{ name: 'http', port: 80 }] });
    cluster.apply(slice);
    server.addresses('orders.shop', ['10.0.0.7']);
    const heard = listen('http://orders.shop:80');
    await heard.until(() => heard.addresses?.[0] === '10.1.0.1:8080');
    cluster.delete(slice);
    orders({ type: 'ExternalName', externalName: 'db.example.com' });
    await heard.until(() => heard.addresses?.[0] === '10.0.0.7:80');
    expect(heard.infos.at(-1)?.source).toBe('dns');
    orders({ ports: [{ name: 'http', port: 80 }] });
    cluster.apply(slice);
    await heard.until(() => heard.addresses?.[0] === '10.1.0.1:8080');
    cluster.api.rules = [];
    cluster.api.disconnect('end');
    await heard.until(() => heard.addresses?.[0] === '10.0.0.7:80');
  });

  test('begins nothing anew when it is closed by who hears that it may not be watched', async () => {
    await cluster.service('orders', { replicas: 1 });
    const clock = new FakeClock();
    const { kubeconfig } = cluster;
    await closedWhenRefused(
      auto({ kubeconfig, servers: [server.address], search: [], hosts: false, clock }),
      cluster,
    );
    await pass(clock, 2_000, 500);
    expect(server.asked).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  test('asks DNS for one even where the Service may not be read', async () => {
    cluster.api.rules = [
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
    ];
    server.addresses('legacy.shop', ['10.0.0.7']);
    const heard = listen('http://legacy.shop:80');
    await heard.until(() => heard.last !== undefined);
    expect(heard.addresses).toEqual(['10.0.0.7:80']);
  });

  test('asks DNS for names that are no Services', async () => {
    server.addresses('example.com', ['10.0.0.8']);
    server.addresses('www.example.com', ['10.0.0.9']);
    const two = listen('http://example.com:80');
    await two.until(() => two.last !== undefined);
    expect(two.addresses).toEqual(['10.0.0.8:80']);
    await two.watch.close();
    const three = listen('http://www.example.com:80');
    await three.until(() => three.last !== undefined);
    expect(three.addresses).toEqual(['10.0.0.9:80']);
  });

  test('goes on asking DNS for such a name after an outage of the API server', async () => {
    server.addresses('example.com', ['10.0.0.8']);
    const clock = new FakeClock();
    const heard = listen('http://example.com:80', { clock, random: seeded(1) });
    await heard.until(() => heard.last !== undefined);
    const { length } = heard.errors;
    await cluster.api.down();
    await heard.until(() => heard.errors.length > length);
    await cluster.api.up();
    const requests = cluster.api.requests.length;
    while (cluster.api.requests.length < requests + 2) await pass(clock, 1_000, 500);
    await pass(clock, 2_000, 500);
    expect(heard.addresses).toEqual(['10.0.0.8:80']);
    expect(heard.infos.at(-1)?.source).toBe('dns');
  });

  test('a Service without pods is empty, whatever DNS would say', async () => {
    await cluster.service('orders', { replicas: 0 });
    server.addresses('orders.shop', ['10.0.0.1']);
    const heard = listen('http://orders.shop:8080');
    await heard.until(() => heard.last !== undefined);
    expect(heard.last).toEqual([]);
    expect(server.asked).toEqual([]);
  });
});

describe('auto, outside a cluster', () => {
  test('asks DNS', async () => {
    server.addresses('orders.shop', ['10.0.0.1']);
    heard = new Listening(auto({ servers: [server.address], search: [] }), 'http://orders.shop:8080');
    const listening = heard;
    await listening.until(() => listening.last !== undefined);
    expect(listening.infos.at(-1)?.source).toBe('dns');
    expect(listening.errors).toEqual([]);
  });

  test('watches where a context is named', async () => {
    await cluster.service('orders', { replicas: 2 });
    const before = process.env['KUBECONFIG'];
    process.env['KUBECONFIG'] = cluster.kubeconfig;
    try {
      heard = new Listening(
        auto({ context: 'fake', servers: [server.address], search: [], hosts: false }),
        'http://orders:8080',
      );
      const listening = heard;
      await listening.until(() => listening.last?.length === 2);
      expect(listening.infos.at(-1)?.source).toBe('kubernetes');
    } finally {
      if (before === undefined) delete process.env['KUBECONFIG'];
      else process.env['KUBECONFIG'] = before;
    }
  });

  test('checks options of both', () => {
    expect(() => auto({ maxTtl: 'x' } as never)).toThrow('auto: option maxTtl must be a number');
    expect(() => auto({ topology: 'x' } as never)).toThrow('auto: option topology must be one of');
    expect(() => auto({ nonsense: 1 } as never)).toThrow('auto: unknown option nonsense');
  });
});
