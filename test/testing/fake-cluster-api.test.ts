import { describe, expect, test } from 'vitest';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import type { ApiFailure } from '../../src/testing/fake-cluster/failures.ts';
import { FakeCluster } from '../../src/testing/fake-cluster.ts';
import {
  ask,
  askRaw,
  eventually,
  parseAnswer,
  recorded,
  slicesIn,
  WatchReader,
} from './fake-cluster-client.ts';

const slices = slicesIn('default');

/** Every path of keys in a document, lists taken as one element. */
function shapeOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap((entry) => shapeOf(entry, `${path}[]`)))];
  if (typeof value !== 'object' || value === null)
    return [`${path}: ${value === null ? 'null' : typeof value}`];
  return Object.entries(value).flatMap(([key, entry]) =>
    shapeOf(entry, `${path}.${key.startsWith('k:{') ? 'k:{}' : key}`),
  );
}

const slice = (
  name: string,
  service: string,
  more: Record<string, unknown> = {},
): Record<string, unknown> => ({
  kind: 'EndpointSlice',
  apiVersion: 'discovery.k8s.io/v1',
  metadata: { name, labels: { 'kubernetes.io/service-name': service } },
  addressType: 'IPv4',
  endpoints: [{ addresses: ['10.0.0.1'], conditions: {} }],
  ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
  ...more,
});

async function openWatch(cluster: FakeCluster, path: string): Promise<WatchReader> {
  const response = await ask(cluster, path);
  expect(response.status).toBe(200);
  return new WatchReader(response);
}

describe('what the controllers write has the shape of what real ones wrote', () => {
  const ports = [
    { name: 'grpc', port: 9090, appProtocol: 'kubernetes.io/h2c' },
    { name: 'http', port: 8080, appProtocol: 'http' },
  ];
  test.each([
    ['list-small', { ports }],
    ['list-small-zone', { ports, trafficDistribution: 'PreferSameZone' }],
    ['list-small-node', { ports, trafficDistribution: 'PreferSameNode' }],
    ['list-small-headless', { ports, headless: true }],
    ['list-unnamed', { portName: '' }],
    ['list-empty', { replicas: 0 }],
  ] as const)('%s', async (transcript, options) => {
    await using cluster = await FakeCluster.start({ namespace: 'demo' });
    const service = await cluster.service('small', { replicas: 6, ...options });
    if (transcript !== 'list-unnamed' && service.pods[4]) service.pods[4].ready = false;
    const ours = await (await ask(cluster, slicesIn('demo'))).json();
    const theirs = JSON.parse(recorded(transcript).body);
    expect(shapeOf(ours).sort()).toEqual(shapeOf(theirs).sort());
  });

  test.each([
    ['endpoints-list-byname', 6],
    ['endpoints-get-empty', 0],
  ] as const)('%s', async (transcript, replicas) => {
    await using cluster = await FakeCluster.start({ namespace: 'demo' });
    const service = await cluster.service('small', { replicas, ports });
    if (service.pods[4]) service.pods[4].ready = false;
    const get = transcript.includes('get') ? '/small' : '?fieldSelector=metadata.name%3Dsmall';
    const response = await ask(cluster, `/api/v1/namespaces/demo/endpoints${get}`);
    expect(response.headers.get('warning')).toBe(recorded(transcript).headers.get('warning'));
    const theirs = shapeOf(JSON.parse(recorded(transcript).body)).filter(
      (path) => !path.includes('managedFields'),
    );
    expect(shapeOf(await response.json()).sort()).toEqual(theirs.sort());
  });
});

describe('slices', () => {
  test('hold 100 endpoints each, and an endpoint stays in its slice as others come and go', async () => {
    await using cluster = await FakeCluster.start({ endpointsPerSlice: 3 });
    const service = await cluster.service('web', { replicas: 7 });
    const read = async (): Promise<Map<string, string>> => {
      const { items } = (await (await ask(cluster, slices)).json()) as {
        items: { metadata: { name: string }; endpoints: { targetRef: { uid: string } }[] | null }[];
      };
      return new Map(
        items.flatMap(({ metadata, endpoints }) =>
          (endpoints ?? []).map(({ targetRef }) => [targetRef.uid, metadata.name] as const),
        ),
      );
    };
    const before = await read();
    expect(
      [...Map.groupBy(before.values(), (name) => name).values()].map((all) => all.length).sort(),
    ).toEqual([1, 3, 3]);
    service.pods[0]?.kill();
    await service.scale(8);
    const after = await read();
    expect(after.size).toBe(8);
    for (const [uid, name] of after) expect(before.get(uid) ?? name).toBe(name);
    await service.scale(0);
    const { items } = (await (await ask(cluster, slices)).json()) as {
      items: { endpoints: unknown; ports: unknown }[];
    };
    expect(items.map(({ endpoints, ports }) => [endpoints, ports])).toEqual([[null, null]]);
  });

  test('follow the pods a propagation time later', async () => {
    const clock = new FakeClock();
    await using cluster = await FakeCluster.start({ clock });
    const service = await cluster.service('web', { replicas: 2 });
    cluster.propagation = 150;
    const watch = await openWatch(cluster, `${slices}?watch=1`);
    expect((await watch.next()).object.endpoints).toHaveLength(2);
    service.pods[0]?.kill();
    await clock.advance(149);
    const list = (await (await ask(cluster, slices)).json()) as { items: { endpoints: unknown[] }[] };
    expect(list.items[0]?.endpoints).toHaveLength(2);
    await clock.advance(1);
    expect((await watch.next()).object.endpoints).toHaveLength(1);
    await watch.close();
  });

  test('go with their service, and come back under new names', async () => {
    await using cluster = await FakeCluster.start();
    await cluster.service('web', { replicas: 1 });
    const watch = await openWatch(cluster, `${slices}?watch=1`);
    const first = await watch.next();
    const path = '/api/v1/namespaces/default/services/web';
    const service = (await (await ask(cluster, path)).json()) as Record<string, unknown>;
    expect((await ask(cluster, path, { method: 'DELETE' })).status).toBe(200);
    expect((await watch.next()).type).toBe('DELETED');
    expect((await ask(cluster, '/api/v1/namespaces/default/endpoints/web')).status).toBe(404);
    const init = {
      method: 'POST',
      body: JSON.stringify(service),
      headers: { 'content-type': 'application/json' },
    };
    expect((await ask(cluster, '/api/v1/namespaces/default/services', init)).status).toBe(201);
    const second = await watch.next();
    expect([second.type, second.object.endpoints.length]).toEqual(['ADDED', 1]);
    expect(second.object.metadata.name).not.toBe(first.object.metadata.name);
    await watch.close();
  });

  test('hold what publishNotReadyAddresses publishes', async () => {
    await using cluster = await FakeCluster.start();
    const { pods } = await cluster.service('web', { publishNotReadyAddresses: true });
    const watch = await openWatch(cluster, `${slices}?watch=1`);
    await watch.next();
    if (pods[0]) pods[0].ready = false;
    expect((await watch.next()).object.endpoints[0].conditions).toEqual({
      ready: true,
      serving: false,
      terminating: false,
    });
    await watch.close();
  });
});

describe('a list', () => {
  test('comes in pages that all show the moment of the first', async () => {
    await using cluster = await FakeCluster.start();
    for (const name of ['a', 'b', 'c']) cluster.apply(slice(name, 'web'));
    const read = async (query: string): Promise<{ names: string[]; metadata: Record<string, unknown> }> => {
      const { items, metadata } = (await (await ask(cluster, `${slices}?${query}`)).json()) as {
        items: { metadata: { name: string } }[];
        metadata: Record<string, unknown>;
      };
      return { names: items.map((item) => item.metadata.name), metadata };
    };
    const first = await read('limit=1');
    expect(first.names).toEqual(['a']);
    expect(first.metadata['remainingItemCount']).toBe(2);
    cluster.delete(slice('b', 'web'));
    cluster.apply(slice('bb', 'web'));
    const second = await read(`limit=5&continue=${String(first.metadata['continue'])}`);
    expect(second.names).toEqual(['b', 'c']);
    expect(second.metadata['resourceVersion']).toBe(first.metadata['resourceVersion']);
    const selected = await read('limit=1&labelSelector=kubernetes.io/service-name=web');
    expect(selected.metadata).not.toHaveProperty('remainingItemCount');
    expect((await read('')).names).toEqual(['a', 'bb', 'c']);
  });

  test.each([
    ['labelSelector=app', ['both', 'web']],
    ['labelSelector=app=web', ['web']],
    ['labelSelector=app!=web', ['both', 'none']],
    ['labelSelector=app in (web,x),!tier', ['web']],
    ['labelSelector=app notin (web)', ['both', 'none']],
    ['labelSelector=tier=front,app', ['both']],
    ['fieldSelector=metadata.name=none', ['none']],
    ['fieldSelector=metadata.name!=none,metadata.namespace=default', ['both', 'web']],
  ])('is narrowed by %s', async (query, names) => {
    await using cluster = await FakeCluster.start();
    const labelled = (name: string, labels: Record<string, string>): unknown =>
      cluster.apply(slice(name, '', { metadata: { name, labels } }));
    labelled('web', { app: 'web' });
    labelled('both', { app: 'x-app', tier: 'front' });
    labelled('none', {});
    const list = (await (await ask(cluster, `${slices}?${query}`)).json()) as {
      items: { metadata: { name: string } }[];
    };
    expect(list.items.map(({ metadata }) => metadata.name)).toEqual(names);
  });

  test.each([
    [
      'resourceVersionMatch=Exact',
      422,
      'resourceVersionMatch is forbidden unless resourceVersion is provided',
    ],
    ['resourceVersionMatch=Latest&resourceVersion=1000', 422, 'Unsupported value: "Latest"'],
    ['resourceVersionMatch=Exact&resourceVersion=0', 422, 'forbidden for resourceVersion "0"'],
    ['fieldSelector=nonsense', 400, "invalid selector: 'nonsense'"],
    ['fieldSelector=spec.nodeName=x', 400, 'field label not supported: spec.nodeName'],
  ])('is refused when asked with %s', async (query, status, message) => {
    await using cluster = await FakeCluster.start();
    const response = await ask(cluster, `${slices}?${query}`);
    expect(response.status).toBe(status);
    expect(((await response.json()) as { message: string }).message).toContain(message);
  });

  test('of an earlier moment shows what was there then', async () => {
    await using cluster = await FakeCluster.start();
    const { metadata } = cluster.apply(slice('a', 'web'));
    cluster.apply(slice('a', 'api'));
    cluster.apply(slice('b', 'web'));
    cluster.delete(slice('a', 'web'));
    const query = `resourceVersion=${metadata.resourceVersion}&resourceVersionMatch=Exact`;
    const list = (await (await ask(cluster, `${slices}?${query}`)).json()) as { items: unknown[] };
    expect(list.items).toMatchObject([
      { metadata: { ...metadata, labels: { 'kubernetes.io/service-name': 'web' } } },
    ]);
  });

  test('of more than 128 KiB is compressed when asked', async () => {
    await using cluster = await FakeCluster.start();
    const endpoints = Array.from({ length: 1000 }, (_, i) => ({
      addresses: [`10.0.${i >> 8}.${i & 255}`],
      conditions: {},
    }));
    const plain = await ask(cluster, slices, { headers: { 'accept-encoding': 'gzip' } });
    expect(plain.headers.get('content-encoding')).toBeNull();
    for (const name of ['a', 'b', 'c']) cluster.apply(slice(name, 'web', { endpoints }));
    const packed = await ask(cluster, slices, { headers: { 'accept-encoding': 'gzip' } });
    expect(packed.headers.get('content-encoding')).toBe('gzip');
    expect(((await packed.json()) as { items: unknown[] }).items).toHaveLength(3);
  });
});

describe('a watch', () => {
  const manual = `${slices}?watch=1&labelSelector=kubernetes.io/service-name=manual`;

  test('sees an object leave and enter its selection as DELETED and ADDED', async () => {
    await using cluster = await FakeCluster.start();
    const watch = await openWatch(cluster, manual);
    cluster.apply(slice('moving', 'manual'));
    cluster.apply(slice('moving', 'other'));
    cluster.apply(slice('moving', 'manual'));
    cluster.delete(slice('moving', 'manual'));
    const types = [];
    for (let i = 0; i < 4; i++) types.push((await watch.next()).type);
    expect(types).toEqual(['ADDED', 'DELETED', 'ADDED', 'DELETED']);
    await watch.close();
  });

  test('begins with the state when no resourceVersion is given, and marks its end for callers that take bookmarks', async () => {
    await using cluster = await FakeCluster.start();
    cluster.apply(slice('a', 'manual'));
    const watch = await openWatch(cluster, `${manual}&resourceVersion=0&allowWatchBookmarks=true`);
    expect((await watch.next()).object.metadata.name).toBe('a');
    const { type, object } = await watch.next();
    expect([type, object.metadata.annotations]).toEqual([
      'BOOKMARK',
      { 'k8s.io/initial-events-end': 'true' },
    ]);
    expect(object).toMatchObject({ kind: 'EndpointSlice', addressType: '', endpoints: null, ports: null });
    await watch.close();
  });

  test('brings a bookmark each minute and 2 s before its end, if anything was written', async () => {
    const clock = new FakeClock();
    await using cluster = await FakeCluster.start({ clock });
    const { metadata } = cluster.apply(slice('a', 'manual'));
    const query = `&resourceVersion=${metadata.resourceVersion}&allowWatchBookmarks=true&timeoutSeconds=100`;
    const watch = await openWatch(cluster, manual + query);
    await clock.advance(59_000);
    const other = cluster.apply(slice('b', 'other'));
    await clock.advance(1_000);
    const first = await watch.next();
    expect([first.type, first.object.metadata]).toEqual([
      'BOOKMARK',
      { resourceVersion: other.metadata.resourceVersion },
    ]);
    await clock.advance(38_000);
    const next = watch.next();
    const last = cluster.apply(slice('c', 'manual'));
    expect((await next).object.metadata.resourceVersion).toBe(last.metadata.resourceVersion);
    await clock.advance(2_000);
    expect(await watch.rest()).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  test('is told 410 when its resourceVersion has expired, until it lists again', async () => {
    await using cluster = await FakeCluster.start();
    const { metadata } = cluster.apply(slice('a', 'manual'));
    cluster.api.expire();
    const expired = await openWatch(cluster, `${manual}&resourceVersion=${metadata.resourceVersion}`);
    expect((await expired.rest()).map(({ type, object }) => [type, object.code, object.reason])).toEqual([
      ['ERROR', 410, 'Expired'],
    ]);
    const list = (await (await ask(cluster, slices)).json()) as { metadata: { resourceVersion: string } };
    const fresh = await openWatch(cluster, `${manual}&resourceVersion=${list.metadata.resourceVersion}`);
    cluster.apply(slice('b', 'manual'));
    expect((await fresh.next()).type).toBe('ADDED');
    await fresh.close();
  });

  test('with a selector that makes no sense is refused before it begins', async () => {
    await using cluster = await FakeCluster.start();
    expect((await ask(cluster, `${slices}?watch=1&labelSelector=a%20b%20c`)).status).toBe(400);
    expect((await ask(cluster, `${slices}?watch=1&fieldSelector=spec.x%3D1`)).status).toBe(400);
  });

  test('forgets changes beyond its history', async () => {
    await using cluster = await FakeCluster.start({ history: 2 });
    const { metadata } = cluster.apply(slice('a', 'manual'));
    for (const name of ['b', 'c']) cluster.apply(slice(name, 'manual'));
    const known = await openWatch(cluster, `${manual}&resourceVersion=${metadata.resourceVersion}`);
    expect([(await known.next()).type, (await known.next()).type]).toEqual(['ADDED', 'ADDED']);
    await known.close();
    cluster.apply(slice('d', 'manual'));
    const old = await openWatch(cluster, `${manual}&resourceVersion=${metadata.resourceVersion}`);
    expect((await old.next()).object.code).toBe(410);
  });

  const raw = (cluster: FakeCluster, path: string): string =>
    `GET ${path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer ${cluster.token}\r\nConnection: close\r\n\r\n`;

  test('sends each event as a chunk of its own, or in pieces when told', async () => {
    await using cluster = await FakeCluster.start();
    const answers: string[][] = [];
    for (const size of [undefined, 100]) {
      cluster.api.chunkSize = size;
      const { bytes } = await askRaw(cluster, raw(cluster, manual), (_, soFar) => {
        if (cluster.api.watches === 0) return;
        const { body = '' } = soFar.includes('\r\n\r\n') ? parseAnswer(soFar) : {};
        if (body.split('\n').length === 3) cluster.api.disconnect('end');
        else for (const name of ['one', 'two']) cluster.apply(slice(name, 'manual'));
      });
      const { chunks = [], complete } = parseAnswer(bytes);
      expect(complete).toBe(true);
      answers.push([...chunks]);
      for (const name of ['one', 'two']) cluster.delete(slice(name, 'manual'));
    }
    const [whole = [], split = []] = answers;
    expect(whole.map((chunk) => JSON.parse(chunk).object.metadata.name)).toEqual(['one', 'two']);
    expect(Math.max(...split.map(({ length }) => length))).toBe(100);
    const names = split
      .join('')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).object.metadata.name);
    expect(names).toEqual(['one', 'two']);
  });

  test.each([
    ['end', true, undefined],
    ['close', false, undefined],
    ['reset', false, 'ECONNRESET'],
  ] as const)('is cut by a disconnect: %s', async (how, complete, code) => {
    await using cluster = await FakeCluster.start();
    const { bytes, error } = await askRaw(cluster, raw(cluster, manual), () => cluster.api.disconnect(how));
    expect(parseAnswer(bytes)).toMatchObject({ status: 200, complete });
    expect((error as NodeJS.ErrnoException | undefined)?.code).toBe(code);
    expect(cluster.api.watches).toBe(0);
  });

  test('stalls without a byte and goes on where it was', async () => {
    await using cluster = await FakeCluster.start();
    const watch = await openWatch(cluster, manual);
    cluster.api.stall();
    cluster.apply(slice('late', 'manual'));
    const other = ask(cluster, slices);
    await eventually(() => cluster.api.requests.length).toBe(2);
    expect(cluster.api.requests.map(({ status }) => status)).toEqual([200, 0]);
    await cluster.api.up();
    expect((await watch.next()).object.metadata.name).toBe('late');
    expect((await other).status).toBe(200);
    await watch.close();
  });

  test('survives the loss of its rights, but is not given again', async () => {
    await using cluster = await FakeCluster.start();
    const watch = await openWatch(cluster, manual);
    cluster.api.rules = [];
    cluster.apply(slice('a', 'manual'));
    expect((await watch.next()).type).toBe('ADDED');
    await watch.close();
    expect((await ask(cluster, manual)).status).toBe(403);
  });
});

describe('trouble', () => {
  test('fails as often as told, only where told, and ends when the server is up', async () => {
    await using cluster = await FakeCluster.start();
    const statuses = async (count: number): Promise<number[]> => {
      const all = [];
      for (let i = 0; i < count; i++) all.push((await ask(cluster, slices)).status);
      return all;
    };
    cluster.api.fail({ status: 500, times: 2, verb: 'list', resource: 'endpointslices' });
    expect((await ask(cluster, '/api/v1/namespaces/default/services')).status).toBe(200);
    expect(await statuses(3)).toEqual([500, 500, 200]);
    cluster.api.fail({ status: 503, retryAfter: 7, times: Number.POSITIVE_INFINITY });
    expect((await ask(cluster, slices)).headers.get('retry-after')).toBe('7');
    expect(await statuses(5)).toEqual([503, 503, 503, 503, 503]);
    await cluster.api.up();
    expect(await statuses(1)).toEqual([200]);
    cluster.api.fail({ how: 'reset' });
    await expect(ask(cluster, slices)).rejects.toThrow('fetch failed');
  });

  test.each([
    [{}, 'option fail must have either a status or how'],
    [{ status: 200 }, 'option fail.status must be between 400 and 599, got 200'],
    [{ status: 500, verb: 'lists' }, 'option fail.verb must be one of'],
    [{ stauts: 500 }, 'unknown option fail.stauts'],
  ])('that makes no sense is refused: %j', async (failure, message) => {
    await using cluster = await FakeCluster.start();
    expect(() => cluster.api.fail(failure as ApiFailure)).toThrow(message);
  });

  test('a server that is down refuses, and has forgotten what changed when it is back at the same address', async () => {
    await using cluster = await FakeCluster.start();
    const { metadata } = cluster.apply(slice('a', 'manual'));
    const watch = await openWatch(cluster, `${slices}?watch=1`);
    await watch.next();
    await cluster.api.down();
    await expect(watch.next()).rejects.toThrow();
    await expect(ask(cluster, slices)).rejects.toThrow('fetch failed');
    cluster.apply(slice('b', 'manual'));
    await cluster.api.up();
    const again = await openWatch(cluster, `${slices}?watch=1&resourceVersion=${metadata.resourceVersion}`);
    expect((await again.next()).object.code).toBe(410);
  });
});

test('clients that ask first learn what there is', async () => {
  await using cluster = await FakeCluster.start();
  const json = async (path: string): Promise<unknown> => (await ask(cluster, path)).json();
  expect(await json('/version')).toMatchObject({ major: '1', minor: '36' });
  expect(await json('/api')).toMatchObject({ kind: 'APIVersions', versions: ['v1'] });
  expect(await json('/apis')).toMatchObject({
    groups: [{ name: 'discovery.k8s.io', preferredVersion: { groupVersion: 'discovery.k8s.io/v1' } }],
  });
  const names = async (path: string): Promise<string[]> =>
    ((await json(path)) as { resources: { name: string }[] }).resources.map(({ name }) => name);
  expect(await names('/api/v1')).toEqual(['namespaces', 'services', 'endpoints']);
  expect(await names('/apis/discovery.k8s.io/v1')).toEqual(['endpointslices']);
  expect((await ask(cluster, '/apis/v1')).status).toBe(404);
  expect((await ask(cluster, '/readyz')).status).toBe(200);
});

test('callers without a token may do everything where that is allowed', async () => {
  await using cluster = await FakeCluster.start({ anonymous: true });
  expect((await fetch(cluster.url + slices)).status).toBe(200);
});

test.each(['//', '/%E0%A4%A', '/api/v1/nonsense', '/nonsense'])('the path %s is not found', async (path) => {
  await using cluster = await FakeCluster.start();
  const request = `GET ${path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer ${cluster.token}\r\nConnection: close\r\n\r\n`;
  const { bytes } = await askRaw(cluster, request);
  expect(parseAnswer(bytes)).toMatchObject({ status: 404, complete: true });
});

test('the log says who asked for what, and never with which token', async () => {
  await using cluster = await FakeCluster.start();
  await ask(cluster, `${slices}?labelSelector=a%3Db&watch=true&timeoutSeconds=1`);
  await fetch(`${cluster.url}${slices}/x`, { headers: { authorization: 'Bearer hunter2' } });
  expect(cluster.api.requests).toMatchObject([
    {
      verb: 'watch',
      resource: 'endpointslices',
      group: 'discovery.k8s.io',
      namespace: 'default',
      user: 'system:serviceaccount:default:app',
      query: { labelSelector: 'a=b' },
      status: 200,
    },
    { verb: 'get', name: 'x', user: undefined, status: 401 },
  ]);
  expect(JSON.stringify(cluster.api.requests)).not.toMatch(new RegExp(`hunter2|${cluster.token}`));
});

test('a rotated token replaces the old one, in the kubeconfig too', async () => {
  const { readFile } = await import('node:fs/promises');
  await using cluster = await FakeCluster.start();
  const headers = { authorization: `Bearer ${cluster.token}` };
  const token = await cluster.rotateToken();
  expect((await fetch(cluster.url + slices, { headers })).status).toBe(401);
  expect((await ask(cluster, slices)).status).toBe(200);
  expect(await readFile(cluster.kubeconfig, 'utf8')).toContain(`token: ${token}`);
});

describe('writing through the API', () => {
  const send = (
    cluster: FakeCluster,
    method: string,
    path: string,
    body: unknown,
    type = 'application/json',
  ) => ask(cluster, path, { method, body: JSON.stringify(body), headers: { 'content-type': type } });
  const services = '/api/v1/namespaces/default/services';
  const web = { metadata: { name: 'web' }, spec: { ports: [{ port: 80 }] } };

  test('creates, patches, replaces and deletes as a client of a real server would have it', async () => {
    await using cluster = await FakeCluster.start();
    const created = await send(cluster, 'POST', services, web);
    expect(created.status).toBe(201);
    const service = (await created.json()) as {
      metadata: { resourceVersion: string; uid: string };
      spec: object;
    };
    expect(service.spec).toMatchObject({ type: 'ClusterIP', clusterIP: expect.stringMatching(/^127\./) });
    expect((await send(cluster, 'POST', services, web)).status).toBe(409);
    const patch = { metadata: { labels: { a: 'b' } } };
    const patched = await send(cluster, 'PATCH', `${services}/web`, patch, 'application/merge-patch+json');
    expect(await patched.json()).toMatchObject({
      metadata: { labels: { a: 'b' }, uid: service.metadata.uid },
    });
    const operations = [{ op: 'replace', path: '/metadata/labels/a', value: 'c' }];
    const edited = await send(cluster, 'PATCH', `${services}/web`, operations, 'application/json-patch+json');
    expect(await edited.json()).toMatchObject({ metadata: { labels: { a: 'c' } } });
    expect((await send(cluster, 'PUT', `${services}/web`, service)).status).toBe(409);
    const current = (await (await ask(cluster, `${services}/web`)).json()) as {
      metadata: { resourceVersion: string };
    };
    const replaced = await send(cluster, 'PUT', `${services}/web`, current);
    expect(await replaced.json()).toEqual(current);
    const gone = await ask(cluster, `${services}/web`, { method: 'DELETE' });
    expect(await gone.json()).toMatchObject({
      status: 'Success',
      details: { name: 'web', kind: 'services' },
    });
    expect((await ask(cluster, `${services}/web`, { method: 'DELETE' })).status).toBe(404);
  });

  test.each([
    ['a port out of range', services, { metadata: { name: 'x' }, spec: { ports: [{ port: 70_000 }] } }, 422],
    ['no name', services, { spec: { ports: [{ port: 80 }] } }, 422],
    ['another kind', services, { kind: 'Pod', apiVersion: 'v1', metadata: { name: 'x' } }, 400],
    ['another namespace', services, { metadata: { name: 'x', namespace: 'shop' } }, 400],
    ['a missing namespace', '/api/v1/namespaces/nosuch/services', web, 404],
    ['an address that is none', slices, slice('x', 'web', { endpoints: [{ addresses: ['nonsense'] }] }), 422],
    ['no address type', slices, slice('x', 'web', { addressType: undefined }), 422],
    ['a pod, which is no kind of this server', '/api/v1/namespaces/default/pods', {}, 404],
  ])('refuses %s', async (_, path, body, status) => {
    await using cluster = await FakeCluster.start();
    const response = await send(cluster, 'POST', path, body);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ kind: 'Status', status: 'Failure', code: status });
  });

  test.each([
    [[{ op: 'add', path: '/metadata/labels', value: { 'a/b': 'c' } }], { 'a/b': 'c' }],
    [[{ op: 'add', path: '/metadata/labels/x~1y', value: 'z' }], { 'x/y': 'z', old: 'yes' }],
    [[{ op: 'remove', path: '/metadata/labels/old' }], {}],
    [[{ op: 'test', path: '/metadata/labels/old', value: 'yes' }], { old: 'yes' }],
  ])('applies the JSON patch %j', async (patch, labels) => {
    await using cluster = await FakeCluster.start();
    const old = {
      ...web,
      kind: 'Service',
      apiVersion: 'v1',
      metadata: { name: 'web', labels: { old: 'yes' } },
    };
    cluster.apply(old);
    const response = await send(cluster, 'PATCH', `${services}/web`, patch, 'application/json-patch+json');
    expect(((await response.json()) as { metadata: { labels: unknown } }).metadata.labels).toEqual(labels);
  });

  test('applies a JSON patch to a list', async () => {
    await using cluster = await FakeCluster.start();
    cluster.apply(slice('a', 'web'));
    const endpoint = (address: string): object => ({ addresses: [address], conditions: {} });
    const patch = [
      { op: 'add', path: '/endpoints/-', value: endpoint('10.0.0.3') },
      { op: 'add', path: '/endpoints/1', value: endpoint('10.0.0.2') },
      { op: 'remove', path: '/endpoints/0' },
      { op: 'replace', path: '/endpoints/1', value: endpoint('10.0.0.4') },
    ];
    const response = await send(cluster, 'PATCH', `${slices}/a`, patch, 'application/json-patch+json');
    const { endpoints } = (await response.json()) as { endpoints: { addresses: string[] }[] };
    expect(endpoints.map(({ addresses }) => addresses[0])).toEqual(['10.0.0.2', '10.0.0.4']);
  });

  test.each([
    { op: 'remove' },
    [{ op: 'add', path: '/no/such/path', value: 1 }],
    [{ op: 'test', path: '/metadata/name', value: 'other' }],
    [{ op: 'increment', path: '/metadata/name' }],
    [{ op: 'increment', path: '/spec/ports/0' }],
  ])('refuses the JSON patch %j', async (patch) => {
    await using cluster = await FakeCluster.start();
    cluster.apply({ ...web, kind: 'Service', apiVersion: 'v1' });
    const response = await send(cluster, 'PATCH', `${services}/web`, patch, 'application/json-patch+json');
    expect(response.status).toBe(400);
  });

  test('refuses a body in a form it does not read, and one that is none', async () => {
    await using cluster = await FakeCluster.start();
    const post = (type: string, body: string): Promise<Response> =>
      ask(cluster, services, { method: 'POST', body, headers: { 'content-type': type } });
    expect((await post('application/vnd.kubernetes.protobuf', 'k8s\0')).status).toBe(415);
    expect((await post('application/json', '{"kind":')).status).toBe(400);
    expect((await post('application/json; charset=utf-8', JSON.stringify(web))).status).toBe(201);
    expect((await send(cluster, 'PATCH', `${services}/web`, {}, 'application/apply-patch+yaml')).status).toBe(
      415,
    );
  });

  test('keeps the address of a Service that is replaced without one', async () => {
    await using cluster = await FakeCluster.start();
    const manifest = { kind: 'Service', apiVersion: 'v1', ...web };
    const { spec } = cluster.apply(manifest);
    const changed = cluster.apply({ ...manifest, spec: { ports: [{ port: 81 }] } });
    expect(changed['spec']).toMatchObject({
      clusterIP: (spec as { clusterIP: string }).clusterIP,
      ports: [{ port: 81 }],
    });
  });

  test('deletes all that a selector names', async () => {
    await using cluster = await FakeCluster.start();
    for (const [name, service] of [
      ['a', 'web'],
      ['b', 'api'],
      ['c', 'web'],
    ] as const)
      cluster.apply(slice(name, service));
    const path = `${slices}?labelSelector=kubernetes.io/service-name=web`;
    expect((await ask(cluster, path, { method: 'DELETE' })).status).toBe(200);
    const list = (await (await ask(cluster, slices)).json()) as { items: { metadata: { name: string } }[] };
    expect(list.items.map(({ metadata }) => metadata.name)).toEqual(['b']);
  });

  test('a namespace takes its objects with it', async () => {
    await using cluster = await FakeCluster.start();
    expect((await send(cluster, 'POST', '/api/v1/namespaces', { metadata: { name: 'shop' } })).status).toBe(
      201,
    );
    expect((await send(cluster, 'POST', slicesIn('shop'), slice('a', 'web'))).status).toBe(201);
    expect((await ask(cluster, '/api/v1/namespaces/shop', { method: 'DELETE' })).status).toBe(200);
    const list = (await (await ask(cluster, '/apis/discovery.k8s.io/v1/endpointslices')).json()) as {
      items: unknown[];
    };
    expect(list.items).toEqual([]);
  });
});
