import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import { type Client, createClient } from '../../src/client/client.ts';
import { kubernetes } from '../../src/resolvers/kubernetes.ts';
import { FakeCluster } from '../../src/testing/fake-cluster.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { endpoint } from '../../src/testing/values.ts';
import { ca, identity } from '../support/tls.ts';

/** A pod on a port: whose it is, what it executed, and how many connections it has. */
class Pod implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  executed = 0;
  connections = 0;

  private constructor(name: string, certificate?: 'orders' | 'evil') {
    const answer = (_: unknown, response: { end(text: string): void }): void => {
      this.executed++;
      response.end(name);
    };
    this.#server =
      certificate === undefined
        ? createServer(answer)
        : (createSecureServer(identity(certificate), answer) as unknown as Server);
    this.#server.on('connection', (socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(name: string, port = 0, certificate?: 'orders' | 'evil'): Promise<Pod> {
    const pod = new Pod(name, certificate);
    pod.#server.listen(port, '127.0.0.1');
    await once(pod.#server, 'listening');
    return pod;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get open(): number {
    return this.#sockets.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

const ask = async (client: Client, method: 'GET' | 'POST' = 'GET'): Promise<string> =>
  (await client.request({ path: '/', method })).body.text();

describe('an address that another pod gets, as the watch tells it', () => {
  const metadata = {
    name: 'orders-1',
    namespace: 'shop',
    labels: { 'kubernetes.io/service-name': 'orders' },
  };

  function tell(cluster: FakeCluster, pods: readonly { uid: string; port: number }[]): void {
    for (const [i, { uid, port }] of pods.entries()) {
      cluster.apply({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { ...metadata, name: `orders-${i}` },
        addressType: 'IPv4',
        endpoints: [{ addresses: ['127.0.0.1'], targetRef: { kind: 'Pod', name: uid, uid } }],
        ports: [{ name: 'http', port }],
      } as Parameters<FakeCluster['apply']>[0]);
    }
  }

  function clientOf(cluster: FakeCluster, scheme: 'http' | 'https'): Client {
    return createClient(`${scheme}://orders.shop`, {
      resolver: kubernetes({ kubeconfig: cluster.kubeconfig }),
      port: 'http',
      balancer: roundRobin(),
      ...(scheme === 'https' ? { tls: { ca } } : {}),
    });
  }

  it.each(['http', 'https'] as const)('starts clean, on connections of its own: %s', async (scheme) => {
    await using cluster = await FakeCluster.start({ namespace: 'shop' });
    const certificate = scheme === 'https' ? 'orders' : undefined;
    // The very process may go on: it is what the API says that makes it another pod.
    await using pod = await Pod.start('orders', 0, certificate);
    await using other = await Pod.start('orders', 0, certificate);
    const pods = (uid: string) => [
      { uid, port: pod.port },
      { uid: 'other', port: other.port },
    ];
    tell(cluster, pods('first'));
    await using client = clientOf(cluster, scheme);
    await client.ready();
    for (let i = 0; i < 10; i++) expect(await ask(client, i % 2 === 0 ? 'GET' : 'POST')).toBe('orders');
    expect([pod.connections, other.connections]).toEqual([1, 1]);
    const known = () => client.snapshot().endpoints.filter(({ endpoint: { port } }) => port === pod.port);
    expect(known()).toMatchObject([{ calls: 5, state: 'active', latency: expect.any(Number) }]);

    tell(cluster, pods('second'));
    await expect.poll(() => known().filter(({ state }) => state === 'active')[0]?.calls).toBe(0);
    // Idle connections to what was there are closed at once, before anything is sent to what is there now.
    await expect.poll(() => pod.open).toBe(0);
    expect(known()).toMatchObject([{ calls: 0, failures: 0, latency: undefined, circuit: 'closed' }]);
    for (let i = 0; i < 10; i++) expect(await ask(client)).toBe('orders');
    expect([pod.connections, other.connections]).toEqual([2, 1]);
  });

  it('was ejected, and is not any more', async () => {
    await using cluster = await FakeCluster.start({ namespace: 'shop' });
    await using other = await Pod.start('orders');
    const gone = await Pod.start('orders');
    const { port } = gone;
    tell(cluster, [
      { uid: 'first', port },
      { uid: 'other', port: other.port },
    ]);
    await using client = clientOf(cluster, 'http');
    await client.ready();
    await gone[Symbol.asyncDispose]();
    const state = (): unknown =>
      client.snapshot().endpoints.find((known) => known.endpoint.port === port)?.state;
    for (let i = 0; i < 20; i++) expect(await ask(client, 'POST')).toBe('orders');
    expect(state()).toBe('ejected');
    await using second = await Pod.start('orders', port);
    tell(cluster, [
      { uid: 'second', port },
      { uid: 'other', port: other.port },
    ]);
    await expect.poll(state).toBe('active');
    for (let i = 0; i < 10; i++) expect(await ask(client, 'POST')).toBe('orders');
    expect(second.executed).toBe(5);
  });
});

describe('an address that another service gets while nobody has told us yet', () => {
  async function swap(certificates: readonly ['orders' | undefined, 'evil' | undefined]): Promise<{
    answers: Record<string, number>;
    foreign: number;
    afterNews: number;
  }> {
    const [own, others] = certificates;
    await using orders = await Pod.start('orders', 0, own);
    const gone = await Pod.start('orders', 0, own);
    const at = (id: string, port: number) => endpoint({ id, address: '127.0.0.1', port });
    const resolver = new FakeResolver([at('a', orders.port), at('b', gone.port)]);
    await using client = createClient(`${own === undefined ? 'http' : 'https'}://orders.shop`, {
      resolver,
      balancer: roundRobin(),
      ...(own === undefined ? {} : { tls: { ca } }),
    });
    for (let i = 0; i < 10; i++) await ask(client, 'POST');
    const { port } = gone;
    await gone[Symbol.asyncDispose]();
    await using payments = await Pod.start('payments', port, others);
    const answers: Record<string, number> = {};
    for (let i = 0; i < 50; i++) {
      const answer = await ask(client, i % 2 === 0 ? 'GET' : 'POST');
      answers[answer] = (answers[answer] ?? 0) + 1;
    }
    const foreign = payments.executed;
    resolver.set([at('a', orders.port)]);
    for (let i = 0; i < 50; i++) await ask(client, 'POST');
    return { answers, foreign, afterNews: payments.executed - foreign };
  }

  it('executes nothing of ours over TLS, and no call fails', async () => {
    expect(await swap(['orders', 'evil'])).toEqual({ answers: { orders: 50 }, foreign: 0, afterNews: 0 });
  });

  it('executes what we send it over plain HTTP, and nothing more once we are told', async () => {
    const { answers, foreign, afterNews } = await swap([undefined, undefined]);
    expect(answers.payments).toBe(foreign);
    expect(foreign).toBeGreaterThan(0);
    expect(afterNews).toBe(0);
  });
});
