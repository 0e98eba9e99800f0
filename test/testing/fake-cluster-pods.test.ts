import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import type { FakeService } from '../../src/testing/fake-cluster/fake-service.ts';
import type { FakePod } from '../../src/testing/fake-cluster/pod.ts';
import type { PodFailure } from '../../src/testing/fake-cluster/pod-failure.ts';
import { FakeCluster } from '../../src/testing/fake-cluster.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { ask, eventually, slicesIn, WatchReader } from './fake-cluster-client.ts';

const urlOf = (pod: FakePod): string => `http://${pod.address}:${pod.port}`;

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly connection: string | undefined;
}

/** One request, over a connection of its own unless an agent is given. */
async function get(url: string, agent: Agent | false = false): Promise<Answer> {
  const request = httpRequest(url, { agent });
  request.end();
  const [response] = await once(request, 'response');
  return { status: response.statusCode, body: await text(response), connection: response.headers.connection };
}

const codeOf = (error: NodeJS.ErrnoException): string | undefined => error.code;

async function onePod(cluster: FakeCluster, options = {}): Promise<FakePod> {
  const { pods } = await cluster.service('web', options);
  return pods[0] as FakePod;
}

describe('a pod', () => {
  test('answers after its latency, on the clock of the cluster', async () => {
    const clock = new FakeClock();
    await using cluster = await FakeCluster.start({ clock });
    const pod = await onePod(cluster, { latency: 250 });
    const answer = get(urlOf(pod));
    await eventually(() => clock.pending).toBe(1);
    await clock.advance(249);
    expect([pod.inflight, pod.served]).toEqual([1, 0]);
    await clock.advance(1);
    expect((await answer).status).toBe(200);
    expect([pod.inflight, pod.served]).toEqual([0, 1]);
  });

  test('forgets the latency of a caller that has gone', async () => {
    const clock = new FakeClock();
    await using cluster = await FakeCluster.start({ clock });
    const pod = await onePod(cluster, { latency: 1_000 });
    const gone = new AbortController();
    const answer = fetch(urlOf(pod), { signal: gone.signal });
    await eventually(() => clock.pending).toBe(1);
    gone.abort();
    await expect(answer).rejects.toThrow('aborted');
    await eventually(() => [clock.pending, pod.inflight]).toEqual([0, 0]);
  });

  test('fails with the status it is told, as often as it is told', async () => {
    await using cluster = await FakeCluster.start({ random: seeded(7) });
    const pod = await onePod(cluster);
    pod.failure = { status: 503, rate: 0.5 };
    const statuses = [];
    for (let i = 0; i < 40; i++) statuses.push((await get(urlOf(pod))).status);
    const failed = statuses.filter((status) => status === 503).length;
    expect(failed).toBeGreaterThan(10);
    expect(failed).toBeLessThan(30);
    expect(pod.served).toBe(40);
    pod.failure = undefined;
    expect((await get(urlOf(pod))).status).toBe(200);
  });

  test('resets the connection, or hangs, when told', async () => {
    await using cluster = await FakeCluster.start();
    const pod = await onePod(cluster);
    pod.failure = { reset: true };
    expect(await get(urlOf(pod)).catch(codeOf)).toBe('ECONNRESET');
    pod.failure = { hang: true };
    const hanging = get(urlOf(pod)).catch(codeOf);
    await eventually(() => pod.inflight).toBe(1);
    pod.failure = undefined;
    expect((await get(urlOf(pod))).status).toBe(200);
    expect(pod.inflight).toBe(1);
    pod.kill();
    expect(await hanging).toBe('ECONNRESET');
  });

  test('refuses connections and cuts open ones when told, and listens again after', async () => {
    await using cluster = await FakeCluster.start();
    const pod = await onePod(cluster);
    const agent = new Agent({ keepAlive: true });
    await get(urlOf(pod), agent);
    expect(pod.connections).toBe(1);
    pod.failure = { refuse: true };
    await eventually(() => pod.connections).toBe(0);
    expect(await get(urlOf(pod)).catch(codeOf)).toBe('ECONNREFUSED');
    pod.failure = undefined;
    expect((await get(urlOf(pod))).status).toBe(200);
    agent.destroy();
  });

  test.each([
    [{}, 'failure: give one of status, reset, hang and refuse'],
    [{ status: 500, hang: true }, 'failure: give one of'],
    [{ status: 42 }, 'failure: option status must be between 200 and 599, got 42'],
    [{ status: 500, rate: 2 }, 'failure: option rate must be between 0 and 1, got 2'],
    [{ stauts: 500 }, 'failure: unknown option stauts'],
    [{ refuse: true, rate: 0.5 }, 'failure: a pod that refuses has no rate'],
  ])('refuses the failure %j', async (failure, message) => {
    await using cluster = await FakeCluster.start();
    const pod = await onePod(cluster);
    expect(() => {
      pod.failure = failure as PodFailure;
    }).toThrow(message);
  });

  test('answers 500 with what its handler threw', async () => {
    await using cluster = await FakeCluster.start();
    const pod = await onePod(cluster, {
      handler: () => {
        throw new Error('no coffee');
      },
    });
    const { status, body } = await get(urlOf(pod));
    expect([status, body]).toEqual([500, `the handler of ${pod.name} threw: Error: no coffee\n`]);
  });
});

describe('a termination', () => {
  test('serves during preStop, then finishes what it has begun, then is gone', async () => {
    const clock = new FakeClock();
    await using cluster = await FakeCluster.start({ clock });
    const pod = await onePod(cluster, { latency: 100 });
    const agent = new Agent({ keepAlive: true });
    let gone = false;
    const end = pod.terminate({ preStop: 1_000 }).then(() => {
      gone = true;
    });
    expect([pod.phase, pod.ready, pod.serving]).toEqual(['terminating', false, true]);
    await clock.advance(950);
    const last = get(urlOf(pod), agent);
    await eventually(() => pod.inflight).toBe(1);
    await clock.advance(50);
    expect([pod.phase, pod.serving, gone]).toEqual(['stopping', false, false]);
    expect(await get(urlOf(pod)).catch(codeOf)).toBe('ECONNREFUSED');
    await clock.advance(50);
    expect(await last).toMatchObject({ status: 200, connection: 'close' });
    await end;
    expect(pod.phase).toBe('gone');
    expect(clock.pending).toBe(0);
    agent.destroy();
  });

  test('kills what is not done when the grace is over', async () => {
    const clock = new FakeClock();
    await using cluster = await FakeCluster.start({ clock });
    const pod = await onePod(cluster, { latency: 60_000 });
    const answer = get(urlOf(pod)).catch(codeOf);
    await eventually(() => pod.inflight).toBe(1);
    const end = pod.terminate({ preStop: 1_000, grace: 5_000 });
    await clock.advance(5_000);
    await end;
    expect(await answer).toBe('ECONNRESET');
    expect(clock.pending).toBe(0);
  });

  test('breaks what is under way when the process just exits', async () => {
    await using cluster = await FakeCluster.start();
    const pod = await onePod(cluster, { latency: 60_000 });
    const answer = get(urlOf(pod)).catch(codeOf);
    await eventually(() => pod.inflight).toBe(1);
    await pod.terminate({ onStop: 'exit' });
    expect(await answer).toBe('ECONNRESET');
  });

  test('closes idle connections when told to stop', async () => {
    await using cluster = await FakeCluster.start();
    const pod = await onePod(cluster);
    const socket = connect(pod.port, pod.address);
    await once(socket, 'connect');
    socket.write('GET / HTTP/1.1\r\nHost: web\r\n\r\n');
    await once(socket, 'data');
    const ended = once(socket, 'close');
    await pod.terminate();
    await ended;
  });
});

describe('a service', () => {
  test('scales down its newest pods', async () => {
    await using cluster = await FakeCluster.start();
    const service = await cluster.service('web', { replicas: 4 });
    const names = service.pods.map(({ name }) => name);
    await service.scale(1);
    expect(service.pods.map(({ name }) => name)).toEqual(names.slice(0, 1));
    await expect(service.scale(-1)).rejects.toThrow('option replicas must be between 0 and 10000, got -1');
  });

  test('maps its ports by name, each pod listening on all of them', async () => {
    await using cluster = await FakeCluster.start();
    const ports = [
      { name: 'http', port: 80 },
      { name: 'admin', port: 9000 },
    ];
    const service = await cluster.service('web', { replicas: 2, ports });
    const list = (await (await ask(cluster, slicesIn('default'))).json()) as {
      items: { ports: { name: string; port: number }[]; endpoints: { addresses: string[] }[] }[];
    };
    const [slice] = list.items;
    expect(slice?.ports.map(({ name }) => name)).toEqual(['http', 'admin']);
    for (const { port } of slice?.ports ?? [])
      for (const { addresses } of slice?.endpoints ?? [])
        expect((await get(`http://${addresses[0]}:${port}/`)).status).toBe(200);
    expect(service.pods.map(({ served }) => served)).toEqual([2, 2]);
  });

  test('gives pods ports of their own where they share an address, in slices of their own', async () => {
    await using cluster = await FakeCluster.start({ podAddresses: 'shared' });
    const service = await cluster.service('web', { replicas: 3 });
    expect(new Set(service.pods.map(({ address }) => address))).toEqual(new Set(['127.0.0.1']));
    expect(new Set(service.pods.map(({ port }) => port)).size).toBe(3);
    const list = (await (await ask(cluster, slicesIn('default'))).json()) as {
      items: { ports: { port: number }[]; endpoints: { targetRef: { name: string } }[] }[];
    };
    for (const { ports, endpoints } of list.items) {
      const { body } = await get(`http://127.0.0.1:${ports[0]?.port}/`);
      expect(endpoints.map(({ targetRef }) => targetRef.name)).toEqual([JSON.parse(body).pod]);
    }
    const { url } = await service.virtualIp();
    expect((await get(url)).status).toBe(200);
    await service.rollingRestart();
    expect(service.pods).toHaveLength(3);
  });

  test('takes its slices and pods with it when it is deleted', async () => {
    await using cluster = await FakeCluster.start();
    const service = await cluster.service('web', { replicas: 2 });
    const urls = service.pods.map(urlOf);
    await service.delete();
    const list = (await (await ask(cluster, slicesIn('default'))).json()) as { items: unknown[] };
    expect(list.items).toEqual([]);
    expect(await get(urls[0] ?? '').catch(codeOf)).toBe('ECONNREFUSED');
    expect((await cluster.service('web')).pods).toHaveLength(1);
  });

  test('says which port is taken when its pods cannot listen', async () => {
    await using cluster = await FakeCluster.start();
    const taken = createServer().listen(0, '0.0.0.0');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    await expect(cluster.service('web', { targetPort: port })).rejects.toThrow(
      new RegExp(`a pod cannot listen on 127\\.[\\d.]+, ports ${port}: choose another targetPort`),
    );
    taken.close();
  });

  test('puts its pods in zones and on nodes in turn', async () => {
    await using cluster = await FakeCluster.start();
    const { pods } = await cluster.service('web', {
      replicas: 3,
      zones: ['a', 'b'],
      nodes: ['n1', 'n2', 'n3'],
    });
    expect(pods.map(({ zone, node }) => `${zone}/${node}`)).toEqual(['a/n1', 'b/n2', 'a/n3']);
  });

  test.each([
    [{ replica: 3 }, 'service: unknown option replica'],
    [{ port: 0 }, 'service: option port must be between 1 and 65535, got 0'],
    [{ replicas: 1.5 }, 'service: option replicas must be an integer, got 1.5'],
    [{ latency: -1 }, 'service: option latency must be between 0'],
    [{ ports: [{ name: 'http', port: 80, target: 1 }] }, 'service: unknown option ports[0].target'],
  ])('refuses the options %j', async (options, message) => {
    await using cluster = await FakeCluster.start();
    await expect(cluster.service('web', options as object)).rejects.toThrow(message);
  });

  test('refuses a name that no Service can have, and one that is taken', async () => {
    await using cluster = await FakeCluster.start();
    await expect(cluster.service('Web!')).rejects.toThrow('Service "Web!" is invalid: metadata.name');
    await cluster.service('web');
    await expect(cluster.service('web')).rejects.toThrow('services "web" already exists');
  });
});

test.each([
  { surge: 1, unavailable: 0 },
  { surge: 2, unavailable: 1 },
  { surge: 0, unavailable: 2 },
])('a rolling restart stays within surge $surge and unavailable $unavailable', async (limits) => {
  await using cluster = await FakeCluster.start();
  const service = await cluster.service('web', { replicas: 5 });
  const watch = new WatchReader(await ask(cluster, `${slicesIn('default')}?watch=1`));
  const before = service.pods.map(({ uid }) => uid);
  await service.rollingRestart({ ...limits, preStop: 5 });
  cluster.api.disconnect('end');
  const ready = (await watch.rest()).map(
    ({ object }) =>
      object.endpoints.filter((endpoint: { conditions: { ready: boolean } }) => endpoint.conditions.ready)
        .length,
  );
  expect(Math.min(...ready)).toBeGreaterThanOrEqual(5 - limits.unavailable);
  expect(Math.max(...ready)).toBeLessThanOrEqual(5 + limits.surge);
  expect(service.pods).toHaveLength(5);
  expect(service.pods.some(({ uid }) => before.includes(uid))).toBe(false);
});

test('rolling restarts of two services keep to their own propagation', async () => {
  const clock = new FakeClock();
  await using cluster = await FakeCluster.start({ clock });
  const [quick, slow] = await Promise.all([cluster.service('quick'), cluster.service('slow')]);
  const old = new Map([quick, slow].map((service) => [service.name, service.pods[0]?.name]));
  const holdsOld = async ({ name }: FakeService): Promise<boolean> => {
    const path = `${slicesIn('default')}?labelSelector=kubernetes.io/service-name=${name}`;
    return (await (await ask(cluster, path)).text()).includes(old.get(name) ?? '?');
  };
  const ends = [quick.rollingRestart({ propagation: 10 }), slow.rollingRestart({ propagation: 1_000 })];
  // Both changes of the new pods, which start and become ready.
  await eventually(() => clock.pending).toBe(4);
  await clock.advance(10);
  await eventually(() => quick.pods.length).toBe(1);
  await clock.advance(10);
  await ends[0];
  expect([await holdsOld(quick), await holdsOld(slow)]).toEqual([false, true]);
  await clock.advance(980);
  await eventually(() => slow.pods.length).toBe(1);
  expect(await holdsOld(slow)).toBe(true);
  await clock.advance(1_000);
  await ends[1];
  expect(await holdsOld(slow)).toBe(false);
  expect(cluster.propagation).toBe(0);
});

test('a rolling restart that may neither add nor take away a pod is refused', async () => {
  await using cluster = await FakeCluster.start();
  const service = await cluster.service('web');
  await expect(service.rollingRestart({ surge: 0 })).rejects.toThrow(
    'surge and unavailable cannot both be 0',
  );
});

describe('the virtual IP', () => {
  const podAt = async (url: string, agent?: Agent): Promise<string> =>
    JSON.parse((await get(url, agent ?? false)).body).pod;

  test('chooses a pod for each connection, and keeps to it', async () => {
    await using cluster = await FakeCluster.start({ random: seeded(1) });
    const service = await cluster.service('web', { replicas: 3 });
    const { url, port } = await service.virtualIp();
    expect(port).toBe(service.port);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const first = await podAt(url, agent);
    for (let i = 0; i < 10; i++) expect(await podAt(url, agent)).toBe(first);
    agent.destroy();
    const seen = new Set<string>();
    for (let i = 0; i < 30; i++) seen.add(await podAt(url));
    expect(seen.size).toBe(3);
  });

  test('leaves out pods that are not ready, and takes terminating ones when none is', async () => {
    await using cluster = await FakeCluster.start();
    const service = await cluster.service('web', { replicas: 2 });
    const { url } = await service.virtualIp();
    const [first, second] = service.pods as [FakePod, FakePod];
    first.ready = false;
    await eventually(() => podAt(url)).toBe(second.name);
    for (let i = 0; i < 10; i++) expect(await podAt(url)).toBe(second.name);
    const end = second.terminate({ preStop: 200 });
    await Promise.resolve();
    expect(await podAt(url)).toBe(second.name);
    await end;
    await eventually(() => get(url).catch(codeOf)).toBe('ECONNRESET');
  });

  test('listens elsewhere when its own address and port are taken', async () => {
    await using cluster = await FakeCluster.start();
    const service = await cluster.service('web');
    const taken = createServer().listen(service.port, service.clusterIP);
    await once(taken, 'listening');
    const { url, address } = await service.virtualIp();
    expect(address).toBe('127.0.0.1');
    expect((await get(url)).status).toBe(200);
    taken.close();
  });

  test('passes on the death of a pod to the callers connected to it', async () => {
    await using cluster = await FakeCluster.start();
    const service = await cluster.service('web', { latency: 60_000 });
    const answer = get((await service.virtualIp()).url).catch(codeOf);
    await eventually(() => service.pods[0]?.inflight).toBe(1);
    service.pods[0]?.kill();
    expect(await answer).toBe('ECONNRESET');
  });

  test('is not to be had of a headless service', async () => {
    await using cluster = await FakeCluster.start();
    const service = await cluster.service('web', { headless: true });
    expect(() => service.virtualIp()).toThrow('service web is headless');
  });
});

test('closing leaves no server, socket or timer, whatever goes on', async () => {
  const open = (): string[] =>
    process.getActiveResourcesInfo().filter((name) => /TCP|Pipe|Timeout/.test(name));
  const before = open();
  const clock = new FakeClock();
  const cluster = await FakeCluster.start({ clock });
  const started = cluster.service('web', { replicas: 3, startup: 100, latency: 60_000 });
  await eventually(() => clock.pending).toBe(3);
  await clock.advance(100);
  const service = await started;
  cluster.propagation = 5_000;
  const scaled = service.scale(4);
  await eventually(() => service.pods.length).toBe(4);
  const terminated = service.pods[1]?.terminate({ preStop: 60_000 });

  const pod = service.pods[0] as FakePod;
  const { url } = await service.virtualIp();
  const answers = [get(url).catch(codeOf), get(urlOf(pod)).catch(codeOf)];
  await eventually(() => service.pods.reduce((sum, { inflight }) => sum + inflight, 0)).toBe(2);
  const watch = new WatchReader(
    await ask(cluster, `${slicesIn('default')}?watch=1&allowWatchBookmarks=true`),
  );
  await watch.next();
  const future = ask(cluster, `${slicesIn('default')}?resourceVersion=99999`).catch(() => 'cut');
  await eventually(() => cluster.api.requests.length).toBe(2);
  cluster.api.stall();
  const stalled = ask(cluster, slicesIn('default')).catch(() => 'cut');
  await eventually(() => cluster.api.requests.length).toBe(3);

  await cluster.close();
  await cluster.close();
  await terminated;
  await scaled;
  expect(await Promise.all(answers)).toEqual(['ECONNRESET', 'ECONNRESET']);
  expect(await Promise.all([future, stalled])).toEqual(['cut', 'cut']);
  await expect(watch.rest()).rejects.toThrow();
  await eventually(open).toEqual(before);
  await eventually(() => clock.pending).toBe(0);
});
