import { createClient } from '../../src/client/client.ts';
import { dns } from '../../src/resolvers/dns.ts';
import { kubernetes } from '../../src/resolvers/kubernetes.ts';
import { FakeCluster } from '../../src/testing/fake-cluster.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { DnsServer } from '../resolvers/support/dns-server.ts';
import { jumpTo } from './fake-time.ts';
import { Fleet, load, pause } from './fleet.ts';
import type { Verdict } from './history.ts';
import { ok, onRequest, RawServer } from './tcp.ts';

/** What a program tells whose wall clock jumped while it worked. */
export interface ClockReport extends Verdict {
  /** What the wall clock said at each jump, in s from the start; as far as it jumped, if all is well. */
  readonly offsets: readonly number[];
  /** s */
  readonly seconds: number;
  /** DNS questions about a name whose TTL is a second, and errors and sets told. */
  readonly asked: number;
  readonly dnsErrors: number;
  /** Requests to the API server meanwhile. */
  readonly apiRequests: number;
  /** Whether the watch still told the news afterwards. */
  readonly caughtUp: boolean;
  /** ms that calls took whose attempt timeout is 300 ms, and which nobody answers. */
  readonly timedOut: readonly number[];
  /** Connections that were made in so many ms after each jump, of a client that renews them each 100 ms. */
  readonly renewed: readonly { readonly connections: number; readonly ms: number }[];
  readonly ejected: number;
  readonly stale: boolean;
}

const hour = 3_600;
const decade = 10 * 365 * 24 * hour;
/** In s, from what the time really is. */
const jumps = [hour, -hour, decade, -decade, 0];

async function play(): Promise<ClockReport> {
  await using fleet = await Fleet.start(3);
  await using cluster = await FakeCluster.start();
  const orders = await cluster.service('orders', { replicas: 2 });
  await using mute = await RawServer.start((socket, server) => onRequest(socket, server, () => {}));
  const nameserver = await DnsServer.start();
  nameserver.addresses('orders.shop.svc.cluster.local', ['10.0.0.1'], 1);

  let dnsErrors = 0;
  const watch = dns({ servers: [nameserver.address], family: 4 }).watch(
    { protocol: 'http:', host: 'orders.shop.svc.cluster.local.', port: 80 },
    { onEndpoints: () => {}, onError: () => dnsErrors++ },
  );
  const client = createClient('http://orders.shop', {
    resolver: new FakeResolver(fleet.endpoints),
    timeout: { total: 5_000, attempt: 2_000 },
  });
  const watched = createClient('http://orders:8080', {
    resolver: kubernetes({ kubeconfig: cluster.kubeconfig }),
  });
  const hung = createClient('http://mute.shop', {
    resolver: new FakeResolver([mute.endpoint]),
    timeout: { attempt: 300 },
    retry: false,
  });
  await using young = await RawServer.start((socket, server) =>
    onRequest(socket, server, () => socket.write(ok)),
  );
  const renewing = createClient('http://young.shop', {
    resolver: new FakeResolver([young.endpoint]),
    pool: { maxConnectionAge: 100 },
  });
  const renewed: { connections: number; ms: number }[] = [];
  /** One call after another, for half a second, or longer on a busy machine. */
  const renew = async (): Promise<void> => {
    const before = young.connections;
    const begun = performance.now();
    for (let i = 0; i < 50; i++) {
      await (await renewing.request('/')).body.dump();
      await pause(10);
    }
    renewed.push({ connections: young.connections - before, ms: performance.now() - begun });
  };
  let ejected = 0;
  for (const each of [client, watched]) each.on('ejected', () => ejected++);
  await Promise.all([client.ready(), watched.ready()]);
  await load(client, fleet.history, 40);

  const requests = cluster.api.requests.length;
  const started = performance.now();
  const asked = nameserver.asked.length;
  const wall = Date.now();
  const offsets: number[] = [];
  const timedOut: number[] = [];
  const timeOut = async (): Promise<void> => {
    const begun = performance.now();
    await hung.request({ path: '/', method: 'POST' }).catch(() => {});
    timedOut.push(performance.now() - begun);
  };
  for (const offset of jumps) {
    const work = load(client, fleet.history, 400, 30);
    const late = timeOut();
    await pause(150);
    const before = performance.now();
    jumpTo(offset);
    offsets.push(Math.round((Date.now() - wall - (before - started)) / 1_000));
    const watching = Array.from({ length: 20 }, async () => (await watched.fetch('/')).text());
    await Promise.all([work, late, renew(), ...watching]);
  }
  const seconds = (performance.now() - started) / 1_000;
  const report = {
    offsets,
    seconds,
    asked: nameserver.asked.length - asked,
    dnsErrors,
    apiRequests: cluster.api.requests.length - requests,
    timedOut,
    renewed,
    ejected,
    stale: client.snapshot().stale || watched.snapshot().stale,
  };
  const news = new Promise<boolean>((resolve) => {
    watched.on('endpoints', ({ endpoints }) => endpoints.length === 3 && resolve(true));
  });
  await orders.scale(3);
  const caughtUp = await Promise.race([news, pause(5_000).then(() => false)]);
  await Promise.all([
    client.close(),
    watched.close(),
    hung.close(),
    renewing.close(),
    watch.close(),
    nameserver.close(),
  ]);
  return { ...fleet.history.check(), ...report, caughtUp };
}

process.stdout.write(JSON.stringify(await play()));
process.exit();
