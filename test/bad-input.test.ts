import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Backend,
  type Backends,
  type Balancer,
  consistentHash,
  createClient,
  createFetch,
  dns,
  fixed,
  isDiscoveryError,
  kubernetes,
  type Resolver,
  ServiceAgent,
  type ServiceOptions,
} from '../src/index.ts';
import { FakeResolver } from '../src/testing/fake-resolver.ts';
import { FakeTransport } from '../src/testing/fake-transport.ts';
import { endpoint } from '../src/testing/values.ts';

const make =
  (options: unknown, name = 'http://orders.shop') =>
  () =>
    createClient(name, options as ServiceOptions);
function thrown(build: () => unknown): Error {
  try {
    build();
  } catch (error) {
    return error as Error;
  }
  return expect.fail('nothing was thrown');
}

const own = { resolver: new FakeResolver(['10.0.0.1:80']) };

describe('bad input at construction', () => {
  it.each<[string, () => unknown, RegExp]>([
    [
      'an unknown option',
      make({ ...own, timeouts: {} }),
      /createClient: unknown option timeouts: known are .*timeout/,
    ],
    ['an unknown option in a group', make({ ...own, timeout: { totl: 1 } }), /unknown option timeout\.totl/],
    [
      'a wrong type',
      make({ ...own, timeout: { total: '2s' } }),
      /option timeout\.total must be a number of ms, got "2s"/,
    ],
    [
      'a negative timeout',
      make({ ...own, timeout: { attempt: -1 } }),
      /option timeout\.attempt must be more than 0 ms, got -1/,
    ],
    ['a timeout that is no number', make({ ...own, timeout: { total: Number.NaN } }), /timeout\.total .*NaN/],
    [
      'no attempts',
      make({ ...own, retry: { attempts: 0 } }),
      /option retry\.attempts must be between 1 and 20, got 0/,
    ],
    [
      'a budget above all calls',
      make({ ...own, retry: { budget: { ratio: 2 } } }),
      /retry\.budget\.ratio .*between 0 and 1/,
    ],
    ['true for retry', make({ ...own, retry: true }), /option retry must be an object, got true/],
    [
      'a panic threshold in per cent',
      make({ ...own, panicThreshold: 50 }),
      /panicThreshold must be between 0 and 1, got 50/,
    ],
    [
      'a balancer that is none',
      make({ ...own, balancer: {} }),
      /option balancer must be a Balancer: it has no method pick\(\)/,
    ],
    [
      'a balancer factory not called',
      make({ ...own, balancer: consistentHash }),
      /option balancer must be a Balancer, got a function/,
    ],
    [
      'a resolver that is none',
      make({ resolver: { resolve() {} } }),
      /option resolver must be a Resolver: it has no method watch\(\)/,
    ],
    ['a transport that is none', make({ ...own, transport: {} }), /option transport must be a function/],
    [
      'port 0 in the options',
      make({ ...own, port: 0 }),
      /port must be an integer between 1 and 65535, got 0/,
    ],
    [
      'port 70000 in the options',
      make({ ...own, port: 70_000 }),
      /port must be an integer between 1 and 65535, got 70000/,
    ],
    ['a port name that is none', make({ ...own, port: 'HTTP!' }), /port name "HTTP!"/],
    [
      'port 0 in the URL',
      make(own, 'http://orders.shop:0'),
      /port of orders\.shop must be an integer between 1 and 65535, got 0/,
    ],
    [
      'port 70000 in the URL',
      make(own, 'http://orders.shop:70000'),
      /port of orders\.shop must be an integer between 1 and 65535, got 70000/,
    ],
    ['no host', make(own, 'http://'), /target "http:\/\/" is not a URL or service name: its host is empty/],
    ['an empty name', make(own, ''), /its host is empty/],
    ['a malformed host', make(own, 'http://or ders'), /target "http:\/\/or ders" .*"or ders"/],
    ['an empty label', make(own, 'http://orders..shop'), /host "orders\.\.shop" has an empty label/],
    [
      'a label of 64 characters',
      make(own, `http://${'a'.repeat(64)}.shop`),
      /label longer than 63 characters/,
    ],
    [
      'a hyphen at the end',
      make(own, 'http://orders-.shop'),
      /label that is not letters, digits and hyphens: "orders-"/,
    ],
    ['a path in the target', make(own, 'http://orders.shop/v1'), /has a path: give the path with each call/],
    ['no name at all', () => createClient(undefined as never, own), /target must be .* name, got undefined/],
    ['no options', () => createClient('orders', null as never), /createClient: options must be an object/],
    [
      'an unknown option of createFetch',
      () => createFetch({ timeouts: {} } as never),
      /^createFetch: unknown option timeouts/,
    ],
    [
      'a list of services',
      () => createFetch({ services: ['orders'] as never }),
      /option services must be an object, got an array/,
    ],
    [
      'a listed service that can be none',
      () => new ServiceAgent({ services: { 'or ders': {} } }),
      /option services\["or ders"\]: .*"or ders"/,
    ],
    [
      'half a connection',
      make({ ...own, pool: { connections: 1.5 } }),
      /option pool\.connections must be an integer, got 1\.5/,
    ],
    [
      'a connection kept for ever',
      make({ ...own, pool: { keepAliveTimeout: Number.POSITIVE_INFINITY } }),
      /option pool\.keepAliveTimeout .*got Infinity/,
    ],
    [
      'a least backoff above the greatest',
      make({ ...own, retry: { backoff: { min: 20, max: 10 } } }),
      /option retry\.backoff\.min must not be above retry\.backoff\.max, got 20 and 10/,
    ],
    [
      'a first ejection longer than any may be',
      make({ ...own, circuit: { endpoint: { ejection: 20, maxEjection: 10 } } }),
      /option circuit\.endpoint\.ejection must not be above .*got 20 and 10/,
    ],
    [
      'a namespace that is none',
      () => kubernetes({ namespace: '../secrets' }),
      /option namespace .*"\.\.\/secrets"/,
    ],
    ['another protocol', make(own, 'ftp://orders.shop'), /protocol ftp: where http: or https: is needed/],
    [
      'an IPv4 address',
      make(own, 'http://10.0.0.1:80'),
      /"10\.0\.0\.1" is an IP address, not a service name: use fixed/,
    ],
    ['an IPv6 address', make(own, 'http://[::1]:80'), /"\[::1\]" is an IP address/],
    ['an address in disguise', make(own, 'http://2130706433'), /"2130706433" is an IP address/],
    [
      'an IP as a listed service',
      () => new ServiceAgent({ services: { '10.0.0.1': {} } }),
      /"10\.0\.0\.1" is an IP address/,
    ],
    [
      'options of a listed service',
      () => createFetch({ services: { orders: { retrys: {} } as never } }),
      /services\["orders"\]: unknown option retrys/,
    ],
    ['a kubeconfig of the wrong type', () => kubernetes({ kubeconfig: 1 as never }), /kubeconfig/],
    ['a fixed list of names', () => fixed(['orders.shop:80']), /orders\.shop/],
    ['a name server that is none', () => dns({ servers: ['localhost'] }), /localhost/],
  ])('%s is refused', (_, build, message) => {
    expect(build).toThrow(message);
  });

  it('says nothing of the password in a URL', () => {
    expect(make(own, 'http://user:s3cret@orders.shop')).toThrow(/user name or password/);
    expect(make(own, 'http://user:s3cret@orders.shop')).not.toThrow(/s3cret/);
    expect(make(own, 'http://user:s3cret@orders.shop:99999')).not.toThrow(/s3cret/);
  });

  it.each([
    [
      'the password of another protocol',
      () => createClient('ws://user:s3cret@orders.shop'),
      /"….*has protocol ws:/,
    ],
    [
      'the password of a listed service',
      () => createFetch({ services: { 'http://u:s3cret@orders': {} } }),
      /services\["…@orders"\]/,
    ],
    [
      'a password with a question mark',
      () => createFetch({ services: { 'http://u:s3cret?@orders': {} } }),
      /services/,
    ],
    ['the password of an endpoint', () => fixed(['http://u:s3cret@10.0.0.1']), /"…@10\.0\.0\.1"/],
    ['a query', () => createClient('http://orders/v1?key=s3cret'), /"http:\/\/orders\/v1\?…" has a path/],
  ])('says nothing of %s', (_, build, message) => {
    expect(build).toThrow(message);
    expect(build).not.toThrow(/s3cret/);
  });

  it.each(['a', 'a.', '0', '.', '@', 'ü', '\0'])('says little of a megabyte of %j', (text) => {
    const long = text.repeat(2 ** 20 / text.length);
    for (const build of [
      make(own, long),
      make(own, `http://${long}`),
      make({ ...own, port: long }),
      make({ ...own, timeout: { header: `${long} ` } }),
      () => new ServiceAgent({ services: { [long]: {} } }),
      () => kubernetes({ namespace: long }),
      () => fixed([long]),
      () => dns({ servers: [long] }),
    ]) {
      const error = thrown(build);
      expect(error).toBeInstanceOf(Error);
      expect(error.message.length).toBeLessThan(700);
    }
  });

  it('takes a function that has the methods, such as a class whose static ones they are', async () => {
    const first = Object.assign(() => {}, { pick: (backends: Backends): Backend => backends[0] });
    const client = createClient('http://orders.shop', { ...own, balancer: first });
    expect((await client.pick()).endpoint.address).toBe('10.0.0.1');
    await client.close();
  });

  it('takes upper case as lower case', async () => {
    const transport = new FakeTransport();
    await using client = createClient('http://Orders.SHOP', { ...own, transport });
    await (await client.fetch('/')).text();
    expect(transport.requests[0]?.service.origin).toBe('http://orders.shop');
  });
});

describe('bad input that shows at the first call', () => {
  const broken = (watch: Resolver['watch']): ServiceOptions => ({
    resolver: { watch },
    timeout: { resolve: 50 },
  });
  const balanced = (balancer: Balancer): ServiceOptions => ({
    balancer,
    resolver: new FakeResolver(['10.0.0.1:80']),
  });
  const watch = { refresh() {}, close: async () => {} };
  let folder = '';
  const kubeconfig = (name: string): string => join(folder, name);

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
    writeFileSync(kubeconfig('broken'), 'clusters: [');
    writeFileSync(
      kubeconfig('good'),
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        'current-context': 'one',
        contexts: [{ name: 'one', context: { cluster: 'c', user: 'u' } }],
        clusters: [
          { name: 'c', cluster: { server: 'http://127.0.0.1:1', 'insecure-skip-tls-verify': true } },
        ],
        users: [{ name: 'u', user: { token: 't0ken' } }],
      }),
    );
  });

  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it.each<[string, () => ServiceOptions, string, RegExp]>([
    [
      'a service without endpoints',
      () => ({ resolver: new FakeResolver([]) }),
      'NO_ENDPOINTS',
      /no endpoints for orders\.shop/,
    ],
    [
      'a resolver that throws',
      () =>
        broken(() => {
          throw new Error('boom');
        }),
      'RESOLVE',
      /cannot resolve orders\.shop: boom/,
    ],
    [
      'a resolver that returns nothing',
      () => broken(() => undefined as never),
      'RESOLVE',
      /returned no Watch/,
    ],
    [
      'a resolver that says nothing',
      () => broken(() => watch),
      'RESOLVE',
      /in 50 ms: the resolver has reported nothing/,
    ],
    [
      'a resolver that fails',
      () =>
        broken((_, { onError }) => {
          queueMicrotask(() => onError(new Error('boom')));
          return watch;
        }),
      'RESOLVE',
      /in 50 ms: boom/,
    ],
    [
      'a resolver that reports nonsense',
      () =>
        broken((_, { onEndpoints }) => {
          queueMicrotask(() => onEndpoints(7 as never));
          return watch;
        }),
      'RESOLVE',
      /reported no array of endpoints/,
    ],
    [
      'a resolver that reports port 0',
      () =>
        broken((_, { onEndpoints }) => {
          queueMicrotask(() => onEndpoints([{ ...endpoint('10.0.0.1:80'), port: 0 }]));
          return watch;
        }),
      'RESOLVE',
      /port is no integer/,
    ],
    [
      'a balancer that throws',
      () =>
        balanced({
          pick: () => {
            throw new Error('boom');
          },
        }),
      'NO_ENDPOINTS',
      /the balancer threw Error: boom/,
    ],
    [
      'a balancer that picks nothing',
      () => balanced({ pick: () => undefined as never }),
      'NO_ENDPOINTS',
      /picked a backend outside the set/,
    ],
    [
      'a kubeconfig that is missing',
      () => ({ resolver: kubernetes({ kubeconfig: kubeconfig('none') }) }),
      'RESOLVE',
      /none/,
    ],
    [
      'a kubeconfig that is broken',
      () => ({ resolver: kubernetes({ kubeconfig: kubeconfig('broken') }) }),
      'RESOLVE',
      /broken/,
    ],
    [
      'a context that is not there',
      () => ({ resolver: kubernetes({ kubeconfig: kubeconfig('good'), context: 'two' }) }),
      'RESOLVE',
      /two/,
    ],
    [
      'an API server that is not there',
      () => ({ resolver: kubernetes({ kubeconfig: kubeconfig('good') }), timeout: { resolve: 200 } }),
      'RESOLVE',
      /ECONNREFUSED/,
    ],
    [
      'no DNS server',
      () => ({ resolver: dns({ servers: ['127.0.0.1:1'] }), timeout: { resolve: 200 } }),
      'RESOLVE',
      /ECONNREFUSED/,
    ],
  ])('%s fails the call', async (_, options, code, message) => {
    await using client = createClient('http://orders.shop', { transport: new FakeTransport(), ...options() });
    const error: Error & { code?: string } = await client.request('/').then(
      () => expect.fail('the call succeeded'),
      (reason) => reason,
    );
    expect(isDiscoveryError(error)).toBe(true);
    expect(error.code).toBe(`STEERSMAN_ERR_${code}`);
    expect(error.message).toMatch(message);
    expect(`${error.message}${error.stack}`).not.toContain('t0ken');
  });

  it('a path that leaves the service is refused', async () => {
    const transport = new FakeTransport();
    await using client = createClient('http://orders.shop', { ...own, transport });
    await expect(client.fetch('//evil.example/')).rejects.toThrow(/fetches from http:\/\/orders\.shop only/);
    await expect(client.fetch('http://evil.example/')).rejects.toThrow(/not from http:\/\/evil\.example/);
    await expect(client.request({ path: 'http://evil.example/' })).rejects.toThrow(
      /path must start with one slash/,
    );
    await expect(client.request({ path: '//evil.example/' })).rejects.toThrow(
      /path must start with one slash/,
    );
    const secret = client.request({ path: '//orders/?key=s3cret' }).catch(String);
    expect(await secret).toBe('TypeError: request path must start with one slash, got "//orders/?…"');
    await expect(client.request({ path: 7 as never })).rejects.toThrow(/got number/);
    expect(transport.requests).toEqual([]);
  });
});
