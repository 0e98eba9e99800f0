import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { createFetch, dns, kubernetes } from '../../src/index.ts';
import { FakeCluster } from '../../src/testing/fake-cluster.ts';
import { DnsServer } from '../resolvers/support/dns-server.ts';

describe('the first call', () => {
  it('waits for one round of DNS and for one connection', async () => {
    const nameserver = await DnsServer.start();
    nameserver.addresses('orders', ['127.0.0.1']);
    let connections = 0;
    const pod = createServer((_, response) => response.end('hello')).listen(0, '127.0.0.1');
    pod.on('connection', () => connections++);
    await once(pod, 'listening');
    const { port } = pod.address() as AddressInfo;
    const resolver = dns({ servers: [nameserver.address], search: [], allowLoopback: true });
    const fetch = createFetch({ resolver });
    expect(await (await fetch(`http://orders:${port}/`)).text()).toBe('hello');
    expect(nameserver.asked.map(({ type }) => type).toSorted()).toEqual(['A', 'AAAA']);
    expect(connections).toBe(1);
    await fetch.close();
    await nameserver.close();
    pod.close();
  });

  it('waits for one streamed list of the slices and one of the Service beside it', async () => {
    await using cluster = await FakeCluster.start();
    const asked = (): string[] => cluster.api.requests.map(({ verb, resource }) => `${verb} ${resource}`);
    let before: string[] = [];
    await cluster.service('orders', {
      replicas: 3,
      handler: (_, response) => {
        before = asked();
        response.end('hello');
      },
    });
    const fetch = createFetch({ resolver: kubernetes({ kubeconfig: cluster.kubeconfig }) });
    expect(await (await fetch('http://orders:8080/')).text()).toBe('hello');
    expect(before.toSorted()).toEqual(['watch endpointslices', 'watch services']);
    await fetch.close();
  });
});
