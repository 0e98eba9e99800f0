import { access } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { FakeCluster } from '../../src/testing/fake-cluster.ts';

const slicesPath = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';

interface SliceList {
  metadata: { resourceVersion: string };
  items: {
    metadata: { name: string };
    endpoints:
      | { addresses: string[]; conditions: Record<string, boolean>; targetRef: { name: string } }[]
      | null;
    ports: { name: string; port: number }[] | null;
  }[];
}

async function listSlices(cluster: FakeCluster, query = ''): Promise<SliceList> {
  const response = await fetch(`${cluster.url}${slicesPath}${query}`, {
    headers: { authorization: `Bearer ${cluster.token}` },
  });
  expect(response.status).toBe(200);
  return (await response.json()) as SliceList;
}

test('a service has a slice whose endpoints answer on an address of their own and the same port', async () => {
  await using cluster = await FakeCluster.start();
  const service = await cluster.service('user-service', { replicas: 3 });
  const { items } = await listSlices(cluster, '?labelSelector=kubernetes.io/service-name=user-service');
  expect(items).toHaveLength(1);
  const [slice] = items;
  expect(slice?.endpoints?.map(({ targetRef }) => targetRef.name).sort()).toEqual(
    service.pods.map(({ name }) => name).sort(),
  );
  const port = slice?.ports?.[0]?.port ?? 0;
  expect(port).not.toBe(service.port);
  const answers = await Promise.all(
    (slice?.endpoints ?? []).map(async ({ addresses }) => {
      const response = await fetch(`http://${addresses[0]}:${port}/hello`);
      return (await response.json()) as { pod: string; path: string };
    }),
  );
  expect(new Set(answers.map(({ pod }) => pod)).size).toBe(3);
  expect(service.pods.map(({ served }) => served)).toEqual([1, 1, 1]);
});

test('a watch tells of scaling, readiness, termination and death', async () => {
  await using cluster = await FakeCluster.start();
  const service = await cluster.service('web', { replicas: 1 });
  const { metadata } = await listSlices(cluster);
  const response = await fetch(
    `${cluster.url}${slicesPath}?watch=1&resourceVersion=${metadata.resourceVersion}`,
    {
      headers: { authorization: `Bearer ${cluster.token}` },
    },
  );
  const lines = eventsOf(response);
  const next = async (): Promise<string> => {
    const { value } = await lines.next();
    const { type, object } = value as { type: string; object: SliceList['items'][number] };
    return `${type} ${(object.endpoints ?? [])
      .map(({ conditions }) =>
        ['ready', 'serving', 'terminating'].filter((name) => conditions[name]).join('+'),
      )
      .join(' ')}`;
  };
  await service.scale(2);
  expect(await next()).toBe('MODIFIED ready+serving ready+serving');
  const [first, second] = service.pods;
  if (first === undefined || second === undefined) throw new Error('there should be two pods');
  first.ready = false;
  expect(await next()).toBe('MODIFIED  ready+serving');
  first.kill();
  expect(await next()).toBe('MODIFIED ready+serving');
  const gone = second.terminate({ preStop: 20 });
  expect(await next()).toBe('MODIFIED serving+terminating');
  expect(await next()).toBe('MODIFIED terminating');
  await gone;
  expect(await next()).toBe('MODIFIED ');
  await lines.return(undefined);
});

async function* eventsOf(response: Response): AsyncGenerator<unknown, void> {
  let rest = '';
  for await (const part of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const lines = (rest + part).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line);
  }
}

test('the kubeconfig is a file of this cluster, and gone when it is closed', async () => {
  const cluster = await FakeCluster.start();
  const path = cluster.kubeconfig;
  await access(path);
  await cluster.close();
  await expect(access(path)).rejects.toThrow('ENOENT');
});

test('a rolling restart replaces every pod without a moment of too few', async () => {
  await using cluster = await FakeCluster.start();
  const service = await cluster.service('web', { replicas: 3 });
  const before = service.pods.map(({ uid }) => uid);
  await service.rollingRestart();
  expect(service.pods).toHaveLength(3);
  expect(service.pods.filter(({ uid }) => before.includes(uid))).toEqual([]);
  const { items } = await listSlices(cluster);
  expect(items.flatMap(({ endpoints }) => endpoints ?? [])).toHaveLength(3);
});

test.each([
  [{ replicas: 3 }, TypeError, 'FakeCluster.start: unknown option replicas'],
  [
    { endpointsPerSlice: 0 },
    RangeError,
    'FakeCluster.start: option endpointsPerSlice must be between 1 and 1000, got 0',
  ],
  [{ propagation: -1 }, RangeError, 'FakeCluster.start: option propagation must be between 0'],
  [
    { podAddresses: 'any' },
    TypeError,
    'FakeCluster.start: option podAddresses must be one of "own", "shared"',
  ],
  [{ tls: { cert: 'x' } }, TypeError, 'FakeCluster.start: option tls must have a cert and a key'],
  [{ clock: {} }, TypeError, 'FakeCluster.start: option clock must be a Clock: it has no method now()'],
] as const)('the options %j are refused', async (options, type, message) => {
  const error = await FakeCluster.start(options as object).catch((cause: Error) => cause);
  expect(error).toBeInstanceOf(type);
  expect((error as Error).message).toContain(message);
});
