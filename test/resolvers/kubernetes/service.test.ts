import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DiscoveryWarning, ResolveError } from '../../../src/core/errors.ts';
import { type KubernetesOptions, kubernetes } from '../../../src/resolvers/kubernetes.ts';
import { FakeClock, FakeCluster } from '../../../src/testing/index.ts';
import { uncaught } from '../support/watching.ts';
import { transcript } from './fixtures.ts';
import { closedWhenRefused, Listening } from './listening.ts';
import { listOf, reply, ScriptedApi, sliceOf, status, stream } from './scripted-api.ts';

let cluster: FakeCluster;
const open: { close(): Promise<unknown> }[] = [];

beforeEach(async () => {
  cluster = await FakeCluster.start({ namespace: 'shop' });
  open.push(cluster);
});

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

function listen(target: string, options: KubernetesOptions = {}, port?: number | string): Listening {
  const heard = new Listening(kubernetes({ kubeconfig: cluster.kubeconfig, ...options }), target, port);
  open.push(heard.watch);
  return heard;
}

const slicesOnly = [
  {
    apiGroups: ['discovery.k8s.io'],
    resources: ['endpointslices'],
    verbs: ['list', 'watch'],
    namespaces: ['shop'],
  },
];

function service(name: string, spec: object): void {
  cluster.apply({ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'shop' }, spec });
}

function slice(name: string, fields: object, owner = 'orders'): void {
  cluster.apply({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace: 'shop', labels: { 'kubernetes.io/service-name': owner } },
    addressType: 'IPv4',
    ...fields,
  });
}

const pods = (...addresses: string[]): object => ({
  endpoints: addresses.map((address) => ({ addresses: [address] })),
});
const http = (port: number): object => ({ ports: [{ name: 'http', protocol: 'TCP', port }] });
const twoPorts = {
  ports: [
    { name: 'grpc', protocol: 'TCP', port: 9090 },
    { name: 'http', protocol: 'TCP', port: 8081 },
  ],
};

describe('ports', () => {
  test("a URL's port is the Service's, and leads to each slice's own number", async () => {
    service('orders', { ports: [{ name: 'http', port: 80, targetPort: 'web' }] });
    slice('orders-1', { ...pods('10.0.0.1'), ...http(8080) });
    slice('orders-2', { ...pods('10.0.0.2'), ...http(8081) });
    const heard = listen('http://orders');
    await heard.until(() => heard.last !== undefined);
    expect(heard.addresses).toEqual(['10.0.0.1:8080', '10.0.0.2:8081']);
  });

  test('a port can be named, and a Service with one port needs none', async () => {
    service('orders', { ports: [{ name: 'http', port: 8888, targetPort: 8081 }] });
    slice('orders-1', { ...pods('10.0.0.1'), ...twoPorts });
    const named = listen('http://orders', {}, 'http');
    const bare = listen('http://orders');
    await named.until(() => named.last !== undefined);
    await bare.until(() => bare.last !== undefined);
    expect(named.addresses).toEqual(['10.0.0.1:8081']);
    expect(bare.addresses).toEqual(['10.0.0.1:8081']);
  });

  test('a port the Service does not have is an error that lists those it has', async () => {
    service('orders', {
      ports: [
        { name: 'http', port: 80 },
        { name: 'grpc', port: 90 },
      ],
    });
    slice('orders-1', { ...pods('10.0.0.1'), ...twoPorts });
    const heard = listen('http://orders:8080');
    await heard.until(() => heard.errors.length > 0);
    expect(heard.codes[0]).toBe('STEERSMAN_ERR_PORT');
    // Waiting will not help: callers are told at once.
    expect(heard.errors[0]).toBeInstanceOf(ResolveError);
    expect(heard.errors[0]?.message).toBe(
      'cannot resolve orders:8080: the Service orders in shop has no port 8080: its ports are http 80, grpc 90',
    );
    expect(heard.sets).toEqual([]);
    const secure = listen('https://orders');
    await secure.until(() => secure.errors.length > 0);
    expect(secure.errors[0]?.message).toContain('has no port 443: its ports are http 80, grpc 90');
  });

  test('so is a name it does not have, and a port that none of its slices has', async () => {
    service('orders', { ports: [{ name: 'http', port: 80, targetPort: 'web' }] });
    slice('orders-1', {
      ...pods('10.0.0.1'),
      ports: [
        { name: '', protocol: 'UDP', port: 53 },
        { name: 'grpc', port: null },
      ],
    });
    const named = listen('http://orders', {}, 'metrics');
    const numbered = listen('http://orders:80');
    await named.until(() => named.errors.length > 0);
    await numbered.until(() => numbered.errors.length > 0);
    expect(named.errors[0]?.message).toContain('has no port metrics: its ports are http 80');
    expect(numbered.errors[0]?.message).toContain(
      'no slice of orders in shop has the port of orders: the ports found are (unnamed) 53 UDP, grpc (any)',
    );
    expect([...named.codes, ...numbered.codes]).toEqual(['STEERSMAN_ERR_PORT', 'STEERSMAN_ERR_PORT']);
    // Said once, though the slices go on changing.
    slice('orders-2', { ...pods('10.0.0.2'), ports: [{ name: 'grpc', port: null }] });
    slice('orders-3', { ...pods('10.0.0.3'), ...http(8080) });
    await numbered.until(() => numbered.last !== undefined);
    expect(numbered.addresses).toEqual(['10.0.0.3:8080']);
    expect(numbered.errors).toHaveLength(1);
  });

  test('a headless Service is dialled at the number that is asked for, unless it maps it', async () => {
    service('orders', { clusterIP: 'None', ports: [{ name: 'http', port: 80, targetPort: 8081 }] });
    slice('orders-1', { ...pods('10.0.0.1'), ...http(8081) });
    const mapped = listen('http://orders');
    const literal = listen('http://orders:7000');
    await mapped.until(() => mapped.last !== undefined);
    await literal.until(() => literal.last !== undefined);
    expect(mapped.addresses).toEqual(['10.0.0.1:8081']);
    expect(literal.addresses).toEqual(['10.0.0.1:7000']);
  });

  test('a slice that names no port, or none with a number, stands for that of the Service', async () => {
    service('orders', { ports: [{ name: 'http', port: 80, targetPort: 8080 }] });
    slice('orders-1', { ...pods('10.0.0.1'), ports: null });
    slice('orders-2', { ...pods('10.0.0.2'), ports: [] });
    slice('orders-3', { ...pods('10.0.0.3'), ports: [{ name: 'http', port: null }] });
    slice('orders-4', { ...pods('10.0.0.4'), ports: [{ name: 'grpc', port: null }] });
    const heard = listen('http://orders');
    await heard.until(() => heard.last !== undefined);
    expect(heard.addresses).toEqual(['10.0.0.1:8080', '10.0.0.2:8080', '10.0.0.3:8080']);
  });

  test('a port without a name is one like any other', async () => {
    service('orders', { ports: [{ port: 80, targetPort: 'web' }] });
    slice('orders-1', { ...pods('10.0.0.1'), ports: [{ port: 8080 }] });
    slice('orders-2', { ...pods('10.0.0.2'), ports: [{ name: '', port: 8081 }] });
    slice('orders-3', { ...pods('10.0.0.3'), ports: [{ name: null, protocol: null, port: 8082 }] });
    const heard = listen('http://orders');
    await heard.until(() => heard.last !== undefined);
    expect(heard.addresses).toEqual(['10.0.0.1:8080', '10.0.0.2:8081', '10.0.0.3:8082']);
  });

  test('a Service whose ports change is followed', async () => {
    service('orders', { ports: [{ name: 'http', port: 80 }] });
    slice('orders-1', { ...pods('10.0.0.1'), ...twoPorts });
    const heard = listen('http://orders');
    await heard.until(() => heard.last !== undefined);
    expect(heard.addresses).toEqual(['10.0.0.1:8081']);
    service('orders', { ports: [{ name: 'grpc', port: 80 }] });
    await heard.until(() => heard.sets.length === 2);
    expect(heard.addresses).toEqual(['10.0.0.1:9090']);
  });

  test('a Service that is told later than its slices is waited for, for a second from then on', async () => {
    const [slices, told] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const api = await ScriptedApi.start(async ({ resource, query }) => {
      if (query.has('sendInitialEvents')) return reply(422, status(422, ''));
      if (query.has('watch')) return stream([]);
      if (resource === 'services') {
        await told.promise;
        const ports = [{ name: 'http', port: 80, targetPort: 8081 }];
        return listOf(5, [{ metadata: { name: 'orders', resourceVersion: '3' }, spec: { ports } }]);
      }
      await slices.promise;
      return listOf(5, [{ ...sliceOf('orders', 's1', 4, ['10.0.0.1']), ...twoPorts }]);
    });
    open.push(api);
    const clock = new FakeClock();
    const { kubeconfig } = api;
    const heard = listen('http://orders:80', { kubeconfig, clock });
    const turns = async (): Promise<void> => {
      for (let i = 0; i < 40; i++) await new Promise((resolve) => setImmediate(resolve));
    };
    await turns();
    await clock.advance(5_000);
    slices.resolve();
    await turns();
    await clock.advance(900);
    await turns();
    expect([heard.errors, heard.sets]).toEqual([[], []]);
    const impatient = listen('http://orders:9090', { kubeconfig, clock });
    await turns();
    await clock.advance(200);
    await impatient.until(() => impatient.last !== undefined);
    expect(impatient.addresses).toEqual(['10.0.0.1:9090']);
    told.resolve();
    await heard.until(() => heard.last !== undefined);
    expect(heard.addresses).toEqual(['10.0.0.1:8081']);
  });

  describe('where the Service may not be read', () => {
    beforeEach(() => {
      cluster.api.rules = slicesOnly;
    });

    test("a slice's only port is meant, whatever the number", async () => {
      slice('orders-1', { ...pods('10.0.0.1'), ...http(8081) });
      const heard = listen('http://orders:80');
      await heard.until(() => heard.last !== undefined);
      expect(heard.addresses).toEqual(['10.0.0.1:8081']);
      expect(heard.errors).toEqual([]);
    });

    test('of several the one with that number is meant, or that name', async () => {
      slice('orders-1', { ...pods('10.0.0.1'), ...twoPorts });
      const numbered = listen('http://orders:9090');
      const named = listen('http://orders', {}, 'http');
      await numbered.until(() => numbered.last !== undefined);
      await named.until(() => named.last !== undefined);
      expect(numbered.addresses).toEqual(['10.0.0.1:9090']);
      expect(named.addresses).toEqual(['10.0.0.1:8081']);
    });

    test('otherwise an error lists the ports found, and the set comes when they fit', async () => {
      slice('orders-1', { ...pods('10.0.0.1'), ...twoPorts });
      const heard = listen('http://orders:80');
      await heard.until(() => heard.errors.length > 0);
      expect(heard.codes[0]).toBe('STEERSMAN_ERR_PORT');
      expect(heard.errors[0]?.message).toContain('its slices have the ports grpc 9090, http 8081');
      slice('orders-1', { ...pods('10.0.0.1'), ...http(8082) });
      await heard.until(() => heard.last !== undefined);
      expect(heard.addresses).toEqual(['10.0.0.1:8082']);
    });

    test('nor can be, which unlike a missing rule is said', async () => {
      const api = await ScriptedApi.start(({ resource, query }) => {
        if (resource === 'services') return reply(500, status(500, 'etcd has no leader'));
        if (query.has('sendInitialEvents')) return reply(422, status(422, ''));
        return query.has('watch') ? stream([]) : listOf(5, [sliceOf('orders', 's1', 4, ['10.0.0.1'])]);
      });
      open.push(api);
      const clock = new FakeClock();
      const heard = listen('http://orders:80', { kubeconfig: api.kubeconfig, clock });
      await heard.until(() => heard.last !== undefined);
      expect(heard.addresses).toEqual(['10.0.0.1:8080']);
      while (heard.errors.length === 0) {
        await clock.advance(100);
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(heard.errors[0]).toBeInstanceOf(DiscoveryWarning);
      expect(heard.errors[0]?.message).toMatch(
        /^the Service orders in demo cannot be read: .*answered 500: etcd has no leader/,
      );
    });

    test('nothing is asked for that the role does not need, and nothing but the Service beyond it', async () => {
      slice('orders-1', { ...pods('10.0.0.1'), ...http(8081) });
      const heard = listen('http://orders:80');
      await heard.until(() => heard.last !== undefined);
      for (const { verb, resource, namespace, query, method } of cluster.api.requests) {
        expect(method).toBe('GET');
        expect(['list', 'watch']).toContain(verb);
        expect(namespace).toBe('shop');
        if (resource === 'endpointslices')
          expect(query).toMatchObject({ labelSelector: 'kubernetes.io/service-name=orders' });
        else expect([resource, query]).toMatchObject(['services', { fieldSelector: 'metadata.name=orders' }]);
      }
    });
  });
});

describe('names that have no endpoints', () => {
  test('a Service that does not exist is an empty set, and said so', async () => {
    const heard = listen('http://ordes');
    await heard.until(() => heard.last !== undefined);
    expect(heard.last).toEqual([]);
    expect(heard.errors[0]).toBeInstanceOf(DiscoveryWarning);
    expect(heard.errors[0]?.message).toContain('there is no Service ordes in the namespace shop');
    expect(heard.infos[0]?.note).toBe(heard.errors[0]?.message);
    service('ordes', { ports: [{ name: 'http', port: 80 }] });
    slice('ordes-1', { ...pods('10.0.0.1'), ...http(8081) }, 'ordes');
    await heard.until(() => heard.last?.length === 1);
  });

  test('the same where it may not be read: a Service with a selector would have a slice', async () => {
    cluster.api.rules = slicesOnly;
    const heard = listen('http://ordes');
    await heard.until(() => heard.last !== undefined);
    expect(heard.last).toEqual([]);
    expect(heard.errors[0]?.message).toContain('there are no endpoint slices of ordes in the namespace shop');
  });

  test('a Service without pods is an empty set without a word', async () => {
    await cluster.service('orders', { replicas: 0 });
    const heard = listen('http://orders:8080');
    await heard.until(() => heard.last !== undefined);
    expect(heard.last).toEqual([]);
    expect(heard.errors).toEqual([]);
  });

  test('a Service of type ExternalName is named, with what to do', async () => {
    service('legacy', { type: 'ExternalName', externalName: 'db.example.com' });
    const heard = listen('http://legacy');
    await heard.until(() => heard.errors.length > 0);
    expect(heard.codes[0]).toBe('STEERSMAN_ERR_EXTERNAL_NAME');
    expect(heard.errors[0]?.message).toContain('stands for db.example.com; use that name, dns() or auto()');
    expect(heard.sets).toEqual([]);
  });

  test('a Service that becomes an ExternalName loses its pods', async () => {
    service('orders', { ports: [{ name: 'http', port: 80 }] });
    slice('orders-1', { ...pods('10.0.0.1'), ...http(8081) });
    const heard = listen('http://orders');
    await heard.until(() => heard.last?.length === 1);
    service('orders', { type: 'ExternalName', externalName: 'db.example.com' });
    cluster.delete({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'orders-1', namespace: 'shop' },
    });
    // The Service and its slices are told of by watches of their own, in no order.
    await heard.until(() => heard.last?.length === 0 && heard.codes.includes('STEERSMAN_ERR_EXTERNAL_NAME'));
  });

  test('a host that is no Service name is an error', async () => {
    const heard = listen('http://www.example.com');
    await heard.until(() => heard.errors.length > 0);
    expect(heard.codes[0]).toBe('STEERSMAN_ERR_NOT_A_SERVICE');
  });

  test('a Service that is deleted and created again is followed, under new slice names', async () => {
    service('orders', { ports: [{ name: 'http', port: 80 }] });
    slice('orders-1', { ...pods('10.0.0.1'), ...http(8081) });
    const heard = listen('http://orders');
    await heard.until(() => heard.last?.length === 1);
    cluster.delete({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'orders', namespace: 'shop' } });
    cluster.delete({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'orders-1', namespace: 'shop' },
    });
    await heard.until(() => heard.last?.length === 0);
    service('orders', { ports: [{ name: 'http', port: 80 }] });
    slice('orders-9', { ...pods('10.0.0.9'), ...http(8081) });
    await heard.until(() => heard.last?.length === 1);
    expect(heard.addresses).toEqual(['10.0.0.9:8081']);
  });
});

test('a Service that goes before its slices leaves them as they are until they go too', async () => {
  service('orders', {
    ports: [
      { name: 'http', port: 80 },
      { name: 'grpc', port: 90 },
    ],
  });
  slice('orders-1', { ...pods('10.0.0.1'), ...twoPorts });
  const heard = listen('http://orders');
  await heard.until(() => heard.last?.length === 1);
  cluster.delete({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'orders', namespace: 'shop' } });
  // A watch of its own, by its own clock: once it knows of no Service, the other one has been told.
  const late = listen('http://orders:9090', { clock: new FakeClock() });
  await late.until(() => late.last?.length === 1);
  slice('orders-1', { ...pods('10.0.0.1', '10.0.0.2'), ...twoPorts });
  await heard.until(() => heard.last?.length === 2);
  expect(heard.addresses).toEqual(['10.0.0.1:8081', '10.0.0.2:8081']);
  expect(heard.errors).toEqual([]);
  cluster.delete({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'orders-1', namespace: 'shop' },
  });
  await heard.until(() => heard.last?.length === 0);
  expect(heard.errors.map(({ message }) => message)).toEqual([
    expect.stringContaining('there is no Service orders in the namespace shop'),
  ]);
});

describe('what a Service says of its traffic', () => {
  test('internalTrafficPolicy Local keeps to the own node', async () => {
    service('orders', { internalTrafficPolicy: 'Local', ports: [{ name: 'http', port: 80 }] });
    slice('orders-1', {
      endpoints: [
        { addresses: ['10.0.0.1'], nodeName: 'a' },
        { addresses: ['10.0.0.2'], nodeName: 'b' },
      ],
      ...http(8080),
    });
    const here = listen('http://orders', { node: 'b' });
    await here.until(() => here.last !== undefined);
    expect(here.addresses).toEqual(['10.0.0.2:8080']);
    const elsewhere = listen('http://orders', { node: 'c' });
    await elsewhere.until(() => elsewhere.last !== undefined);
    expect(elsewhere.last).toEqual([]);
    const nowhere = listen('http://orders');
    await nowhere.until(() => nowhere.last !== undefined);
    expect(nowhere.last).toHaveLength(2);
    expect(nowhere.errors[0]?.message).toContain(
      'internalTrafficPolicy Local, but the node of this process is not known',
    );
  });

  test('hints lead to the own zone, unless they are ignored', async () => {
    await cluster.service('orders', { replicas: 6, trafficDistribution: 'PreferSameZone' });
    const near = listen('http://orders:8080', { zone: 'zone-b' });
    await near.until(() => near.last !== undefined);
    expect(near.last?.map(({ zone }) => zone)).toEqual(['zone-b', 'zone-b']);
    const far = listen('http://orders:8080', { zone: 'zone-b', topology: 'ignore' });
    await far.until(() => far.last !== undefined);
    expect(far.last).toHaveLength(6);
  });

  test('of two families a pod is used once, by the first of the Service; or by the one asked for', async () => {
    service('orders', { ipFamilies: ['IPv6', 'IPv4'], ports: [{ name: 'http', port: 80 }] });
    const targetRef = { kind: 'Pod', name: 'p1', uid: 'u1' };
    slice('orders-4', { endpoints: [{ addresses: ['10.0.0.1'], targetRef }], ...http(8080) });
    slice('orders-6', {
      addressType: 'IPv6',
      endpoints: [{ addresses: ['fd00::1'], targetRef }],
      ...http(8080),
    });
    const both = listen('http://orders');
    const four = listen('http://orders', { family: 4 });
    await both.until(() => both.last !== undefined);
    await four.until(() => four.last !== undefined);
    expect(both.last?.map(({ address }) => address)).toEqual(['fd00::1']);
    expect(four.last?.map(({ address }) => address)).toEqual(['10.0.0.1']);
    expect(both.last?.[0]).toMatchObject({ name: 'p1', port: 8080 });
  });

  test('a Service whose families change places is followed, and so is a pod that gets its second address later', async () => {
    service('orders', { ipFamilies: ['IPv4', 'IPv6'], ports: [{ name: 'http', port: 80 }] });
    const refs = ['u1', 'u2'].map((uid) => ({ kind: 'Pod', name: uid, uid }));
    slice('orders-4', {
      endpoints: refs.map((targetRef, i) => ({ addresses: [`10.0.0.${i}`], targetRef })),
      ...http(8080),
    });
    const heard = listen('http://orders');
    const addresses = (): string | undefined =>
      heard.last
        ?.map(({ address }) => address)
        .sort()
        .join();
    await heard.until(() => addresses() === '10.0.0.0,10.0.0.1');
    const six = (count: number): void =>
      slice('orders-6', {
        addressType: 'IPv6',
        endpoints: refs.slice(0, count).map((targetRef, i) => ({ addresses: [`fd00::${i}`], targetRef })),
        ...http(8080),
      });
    six(1);
    service('orders', { ipFamilies: ['IPv6', 'IPv4'], ports: [{ name: 'http', port: 80 }] });
    await heard.until(() => addresses() === '10.0.0.1,fd00::0');
    six(2);
    await heard.until(() => addresses() === 'fd00::0,fd00::1');
    service('orders', { ipFamilies: ['IPv4', 'IPv6'], ports: [{ name: 'http', port: 80 }] });
    await heard.until(() => addresses() === '10.0.0.0,10.0.0.1');
  });

  test('names where addresses should be are left out, and said so', async () => {
    service('orders', { ports: [{ name: 'http', port: 80 }] });
    slice('orders-1', {
      addressType: 'FQDN',
      endpoints: [{ addresses: ['pod.example.com'] }],
      ...http(8080),
    });
    const heard = listen('http://orders');
    await heard.until(() => heard.last !== undefined);
    expect(heard.last).toEqual([]);
    expect(heard.errors.map(({ message }) => message).join()).toContain('holds names (addressType FQDN)');
  });
});

describe('v1 Endpoints', () => {
  test('are read when asked for, and only then', async () => {
    const orders = await cluster.service('orders', { replicas: 3 });
    const heard = listen('http://orders:8080', { source: 'endpoints' });
    await heard.until(() => heard.last?.length === 3);
    expect(heard.last?.map(({ address }) => address).sort()).toEqual(
      orders.pods.map(({ address }) => address).sort(),
    );
    expect(cluster.api.requests.map(({ resource }) => resource)).not.toContain('endpointslices');
    await orders.scale(1);
    await heard.until(() => heard.last?.length === 1);
    const slices = listen('http://orders:8080');
    await slices.until(() => slices.last !== undefined);
    expect(cluster.api.requests.filter(({ resource }) => resource === 'endpoints')).toHaveLength(1);
  });

  test('that are cut at 1000 addresses raise a warning', async () => {
    const bytes = transcript('endpoints-over-1000');
    const body = bytes
      .subarray(bytes.indexOf('\r\n\r\n') + 4)
      .toString('latin1')
      .replace(/(?:^|\r\n)[0-9a-f]+\r\n/g, '')
      .replace(/\r\n$/, '');
    const object = JSON.parse(body) as object;
    const api = await ScriptedApi.start(({ resource, query }) => {
      if (resource === 'services') return reply(403, status(403, 'forbidden'));
      if (query.has('sendInitialEvents')) return reply(422, status(422, ''));
      return query.has('watch') ? stream([]) : listOf(9, [object]);
    });
    open.push(api);
    const heard = listen('http://big.demo:8080', { kubeconfig: api.kubeconfig, source: 'endpoints' });
    await heard.until(() => heard.last !== undefined);
    expect(heard.last).toHaveLength(1000);
    expect(heard.errors[0]).toBeInstanceOf(DiscoveryWarning);
    expect(heard.errors[0]?.message).toContain('cut at 1000 addresses');
  });
});

describe('credentials', () => {
  test('a token that has changed is read again, and nobody notices', async () => {
    await cluster.service('orders', { replicas: 1 });
    const heard = listen('http://orders:8080');
    await heard.until(() => heard.last !== undefined);
    await cluster.rotateToken();
    cluster.api.disconnect('end');
    const before = cluster.api.requests.length;
    await cluster.service('other', { replicas: 1 });
    const other = listen('http://other:8080');
    await other.until(() => other.last !== undefined);
    expect(cluster.api.requests.slice(before).every(({ status }) => status !== 401)).toBe(true);
    expect(heard.errors).toEqual([]);
  });

  test('a refused one is repeated once at once', async () => {
    const api = await ScriptedApi.start(({ resource, nth }) => {
      if (resource === 'services') return reply(403, status(403, 'forbidden'));
      return nth === 1
        ? reply(401, status(401, 'Unauthorized'))
        : stream([
            { type: 'ADDED', object: sliceOf('orders', 's1', 5, ['10.0.0.1']) },
            {
              type: 'BOOKMARK',
              object: {
                metadata: { resourceVersion: '5', annotations: { 'k8s.io/initial-events-end': 'true' } },
              },
            },
          ]);
    });
    open.push(api);
    const heard = listen('http://orders:8080', { kubeconfig: api.kubeconfig });
    await heard.until(() => heard.last !== undefined);
    expect(api.times('endpointslices')).toBe(2);
    expect(heard.errors).toEqual([]);
    expect(api.asked.every(({ headers }) => headers['authorization'] === 'Bearer the-token')).toBe(true);
  });
});

test('Services of one name in two namespaces are two', async () => {
  for (const [namespace, address] of [
    ['shop', '10.0.0.1'],
    ['bank', '10.0.0.2'],
  ] as const) {
    cluster.apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'orders', namespace },
      spec: { ports: [{ name: 'http', port: 80 }] },
    });
    cluster.apply({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'orders-1', namespace, labels: { 'kubernetes.io/service-name': 'orders' } },
      addressType: 'IPv4',
      ...pods(address),
      ...http(8080),
    });
  }
  const shop = listen('http://orders.shop');
  const bank = listen('http://orders.bank');
  await shop.until(() => shop.last !== undefined);
  await bank.until(() => bank.last !== undefined);
  expect([shop.addresses, bank.addresses]).toEqual([['10.0.0.1:8080'], ['10.0.0.2:8080']]);
  await shop.watch.close();
  cluster.delete({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'orders-1', namespace: 'bank' },
  });
  await bank.until(() => bank.last?.length === 0);
});

test('a watch that is closed while it tells an error leaves nothing behind', async () => {
  await cluster.service('orders', { replicas: 1 });
  const clock = new FakeClock();
  await closedWhenRefused(kubernetes({ kubeconfig: cluster.kubeconfig, clock }), cluster);
  expect(clock.pending).toBe(0);
});

test('what a listener throws does not end the watch', async () => {
  const orders = await cluster.service('orders', { replicas: 1 });
  const { thrown, restore } = uncaught();
  try {
    const sets: number[] = [];
    const second = Promise.withResolvers<void>();
    const watch = kubernetes({ kubeconfig: cluster.kubeconfig }).watch(
      { protocol: 'http:', host: 'orders', port: 8080 },
      {
        onEndpoints(set) {
          sets.push(set.length);
          if (sets.length === 2) second.resolve();
          throw new Error('of the listener');
        },
        onError() {},
      },
    );
    open.push(watch);
    const heard = listen('http://orders:8080');
    await heard.until(() => heard.last?.length === 1);
    await orders.scale(2);
    await second.promise;
    await heard.until(() => heard.last?.length === 2);
    await new Promise((resolve) => setImmediate(resolve));
    expect(sets).toEqual([1, 2]);
    expect(thrown).toHaveLength(2);
    expect(heard.errors).toEqual([]);
  } finally {
    restore();
  }
});
