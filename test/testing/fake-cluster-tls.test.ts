import { readFileSync } from 'node:fs';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { text } from 'node:stream/consumers';
import { DiscoveryV1Api, KubeConfig } from '@kubernetes/client-node';
import { expect, test } from 'vitest';
import { FakeCluster } from '../../src/testing/fake-cluster.ts';
import { slicesIn } from './fake-cluster-client.ts';

const read = (name: string): string =>
  readFileSync(new URL(`../fixtures/apiserver/${name}`, import.meta.url), 'utf8');
const tls = { cert: read('server.crt'), key: read('server.key'), ca: read('ca.crt') };

interface Stream {
  readonly status: Promise<number>;
  readonly stream: ClientHttp2Stream;
}

function ask(session: ClientHttp2Session, cluster: FakeCluster, query = ''): Stream {
  const stream = session.request({
    ':path': `${slicesIn('default')}${query}`,
    authorization: `Bearer ${cluster.token}`,
  });
  const status = new Promise<number>((resolve, reject) => {
    stream.once('response', (headers) => resolve(Number(headers[':status'])));
    stream.once('error', reject);
  });
  return { status, stream };
}

test('over TLS the API speaks HTTP/2, with watches on one connection', async () => {
  await using cluster = await FakeCluster.start({ tls });
  expect(cluster.url).toMatch(/^https:/);
  const service = await cluster.service('web', { replicas: 1 });
  const session = connect(cluster.url, { ca: tls.ca });
  const list = ask(session, cluster);
  expect(await list.status).toBe(200);
  expect(JSON.parse(await text(list.stream)).items).toHaveLength(1);
  const watch = ask(session, cluster, '?watch=1');
  expect(await watch.status).toBe(200);
  await service.scale(2);
  cluster.api.disconnect('end');
  const lines = (await text(watch.stream)).trimEnd().split('\n');
  expect(lines.map((line) => JSON.parse(line).object.endpoints.length)).toContain(2);

  const cut = ask(session, cluster, '?watch=1');
  expect(await cut.status).toBe(200);
  const closed = new Promise((resolve) => session.once('close', resolve));
  cluster.api.disconnect('reset');
  cut.stream.resume().on('error', () => {});
  await closed;
});

test('the kubeconfig trusts the authority, and no one else does', async () => {
  await using cluster = await FakeCluster.start({ tls });
  await cluster.service('web');
  const kubeconfig = new KubeConfig();
  kubeconfig.loadFromFile(cluster.kubeconfig);
  const { items } = await kubeconfig
    .makeApiClient(DiscoveryV1Api)
    .listNamespacedEndpointSlice({ namespace: 'default' });
  expect(items).toHaveLength(1);
  await expect(fetch(cluster.url)).rejects.toMatchObject({
    cause: { code: expect.stringMatching(/UNABLE_TO_VERIFY|SELF_SIGNED/) },
  });
});
