import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ConfigOptions, clusterConfig } from '../../../src/resolvers/kubernetes/config.ts';
import { ownLocation } from '../../../src/resolvers/kubernetes/location.ts';
import { clusterNames, ownNamespace } from '../../../src/resolvers/kubernetes/namespace.ts';
import { kubernetes } from '../../../src/resolvers/kubernetes.ts';
import { kubeconfigFor } from './scripted-api.ts';

let folder: string;
let env: NodeJS.ProcessEnv;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'steersman-config-'));
  env = {};
});

afterEach(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
  return path;
}

const config = (options: ConfigOptions = {}): ReturnType<typeof clusterConfig> =>
  clusterConfig(options, { env, home: join(folder, 'home'), serviceAccount: join(folder, 'sa') });

const text = kubeconfigFor('http://127.0.0.1:8001', 'token: abc');

function mountServiceAccount(): void {
  write('sa/token', 'sa-token\n');
  write('sa/ca.crt', 'the ca');
  env['KUBERNETES_SERVICE_HOST'] = 'fd00::1';
  env['KUBERNETES_SERVICE_PORT'] = '6443';
}

describe('the configuration of a cluster', () => {
  test('is the option: a path, or the text itself', async () => {
    const path = write('config', text);
    for (const kubeconfig of [
      path,
      text,
      JSON.stringify({
        'current-context': 'x',
        clusters: [{ name: 'c', cluster: { server: 'http://127.0.0.1:8001' } }],
        users: [{ name: 'u', user: { token: 'abc' } }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: 'demo' } }],
      }),
    ]) {
      const found = await config({ kubeconfig });
      expect(found.namespace).toBe('demo');
      expect(await found.credentials(false)).toMatchObject({
        server: 'http://127.0.0.1:8001',
        headers: { authorization: 'Bearer abc' },
      });
    }
  });

  test('is a KubeConfig that the caller has loaded', async () => {
    const { KubeConfig } = await import('@kubernetes/client-node');
    const given = new KubeConfig();
    given.loadFromString(text);
    const found = await config({ kubeconfig: given });
    expect((await found.credentials(false)).headers).toEqual({ authorization: 'Bearer abc' });
    expect((await config({ kubeconfig: given })).key).toBe(found.key);
  });

  test('is KUBECONFIG before a service account, and that before ~/.kube/config', async () => {
    write('home/.kube/config', text.replace('8001', '8003'));
    expect((await (await config()).credentials(false)).server).toBe('http://127.0.0.1:8003');
    mountServiceAccount();
    expect((await (await config()).credentials(false)).server).toBe('https://[fd00::1]:6443');
    env['KUBECONFIG'] = write('named', text.replace('8001', '8002'));
    expect((await (await config()).credentials(false)).server).toBe('http://127.0.0.1:8002');
  });

  test('may be spread over several files, the first to say something wins', async () => {
    const first = write(
      'first',
      'current-context: test\ncontexts:\n- name: test\n  context: { cluster: api, user: me, namespace: one }\n',
    );
    const second = write('second', text);
    env['KUBECONFIG'] = [first, join(folder, 'missing'), second].join(':');
    const found = await config();
    expect(found.namespace).toBe('one');
    expect((await found.credentials(false)).headers).toEqual({ authorization: 'Bearer abc' });
  });

  test('a service account’s token is read for each request, and a moment without one does not matter', async () => {
    mountServiceAccount();
    const found = await config();
    const token = async (): Promise<string | undefined> =>
      (await found.credentials(false)).headers['authorization'];
    expect(await token()).toBe('Bearer sa-token');
    write('sa/token', 'rotated');
    expect(await token()).toBe('Bearer rotated');
    write('sa/token', '');
    expect(await token()).toBe('Bearer rotated');
    rmSync(join(folder, 'sa/token'));
    expect(await token()).toBe('Bearer rotated');
    write('sa/ca.crt', 'another ca');
    expect((await found.credentials(false)).tls).toEqual({ ca: 'another ca', rejectUnauthorized: true });
  });

  test('a token file named in a kubeconfig is read for each request', async () => {
    const token = write('token', 'one\n');
    const path = write('config', kubeconfigFor('http://127.0.0.1:8001', `tokenFile: ${token}`));
    const found = await config({ kubeconfig: path });
    expect((await found.credentials(false)).headers).toEqual({ authorization: 'Bearer one' });
    write('token', 'two\n');
    expect((await found.credentials(false)).headers).toEqual({ authorization: 'Bearer two' });
  });

  test('a token file is found in JSON of a single line, too', async () => {
    const token = write('token', 'one\n');
    const json = JSON.stringify({
      clusters: [{ name: 'c', cluster: { server: 'http://127.0.0.1:8001' } }],
      users: [{ name: 'u', user: { tokenFile: token } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    });
    for (const kubeconfig of [json, write('config', json)]) {
      const found = await config({ kubeconfig });
      expect((await found.credentials(false)).headers).toEqual({ authorization: 'Bearer one' });
    }
  });

  test('a kubeconfig that changes is read again', async () => {
    const path = write('config', text);
    const found = await config({ kubeconfig: path });
    write('config', `${text.replace('abc', 'abcdef')}\n`);
    expect((await found.credentials(false)).headers).toEqual({ authorization: 'Bearer abcdef' });
  });

  test('a credential plugin is run, and run again only when its credential is refused', async () => {
    const count = write('count', '');
    const plugin = write(
      'plugin.sh',
      `#!/bin/sh\necho x >> ${count}\necho "{\\"apiVersion\\":\\"client.authentication.k8s.io/v1\\",\\"kind\\":\\"ExecCredential\\",\\"status\\":{\\"token\\":\\"from-plugin-$(wc -l < ${count} | tr -d ' ')\\"}}"\n`,
    );
    const path = write(
      'config',
      kubeconfigFor(
        'http://127.0.0.1:8001',
        `exec: { apiVersion: client.authentication.k8s.io/v1, command: sh, args: [${plugin}], interactiveMode: Never }`,
      ),
    );
    const found = await config({ kubeconfig: path });
    const token = async (fresh: boolean): Promise<string | undefined> =>
      (await found.credentials(fresh)).headers['authorization'];
    expect(await token(false)).toBe('Bearer from-plugin-1');
    expect(await token(false)).toBe('Bearer from-plugin-1');
    expect(await token(true)).toBe('Bearer from-plugin-2');
  });

  test('a plugin that fails says so, without what it printed', async () => {
    const path = write(
      'config',
      kubeconfigFor(
        'http://127.0.0.1:8001',
        'exec: { apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, "echo secret-canary >&2; exit 1"] }',
      ),
    );
    const found = await config({ kubeconfig: path });
    await expect(found.credentials(false)).rejects.toThrow(
      /credentials of the context "test" cannot be had: the credential plugin failed/,
    );
    await expect(found.credentials(false)).rejects.not.toThrow(/canary/);
  });

  test('a name and password make basic authentication', async () => {
    const found = await config({
      kubeconfig: kubeconfigFor('http://127.0.0.1:8001', '{ username: me, password: pw }'),
    });
    expect((await found.credentials(false)).headers).toEqual({
      authorization: `Basic ${Buffer.from('me:pw').toString('base64')}`,
    });
  });
});

describe('a configuration that cannot be used', () => {
  test('is never guessed: the error names all that was looked for', async () => {
    await expect(config()).rejects.toThrow(
      `no Kubernetes configuration: looked for the option kubeconfig, KUBECONFIG (not set), the service account of a pod (KUBERNETES_SERVICE_HOST is not set) and ${join(folder, 'home/.kube/config')} (does not exist)`,
    );
    env['KUBERNETES_SERVICE_HOST'] = '10.0.0.1';
    await expect(config()).rejects.toThrow(`no ${join(folder, 'sa')}/token`);
  });

  test('a service account without its CA, or without a token, is not used without them', async () => {
    for (const [file, content] of [
      ['ca.crt', undefined],
      ['ca.crt', '\n'],
      ['token', ' '],
    ] as const) {
      mountServiceAccount();
      const path = join(folder, 'sa', file);
      if (content === undefined) rmSync(path);
      else write(`sa/${file}`, content);
      const found = await config();
      await expect(found.credentials(false)).rejects.toMatchObject({
        code: 'STEERSMAN_ERR_KUBECONFIG',
        message: expect.stringContaining(`${path} ${content === undefined ? 'cannot be read' : 'is empty'}`),
      });
    }
  });

  test.each<[string, string, string]>([
    ['is not YAML', 'a: [1,\nsecret-canary', 'is not valid YAML'],
    ['is something else', '"just text"\n{', 'is not valid YAML'],
    ['is empty', '\n\n', 'is not valid YAML: expected a document, but the input is empty'],
    [
      'has a cluster without a server',
      'clusters: [{name: a, cluster: {}}]',
      'clusters[0].cluster.server is missing',
    ],
    [
      'has no current context',
      text.replace('current-context: test', ''),
      'has no current-context: pass the option context; known contexts: test',
    ],
    [
      'names a cluster it does not have',
      text.replace('cluster: api', 'cluster: gone'),
      'names the cluster "gone", which is not in it',
    ],
    [
      'names a user it does not have',
      text.replace('user: me', 'user: gone'),
      'names the user "gone", which is not in it',
    ],
    [
      'has a server that is no URL',
      text.replace('http://127.0.0.1:8001', 'ftp://x'),
      'server of the cluster "api" is not an http or https URL',
    ],
  ])('one that %s is named with what is wrong', async (_what, broken, message) => {
    const path = write('broken', broken);
    const error = await config({ kubeconfig: path }).then(
      () => undefined,
      (reason: Error) => reason,
    );
    expect(error).toMatchObject({ name: 'WatchError', code: 'STEERSMAN_ERR_KUBECONFIG' });
    expect(error?.message).toContain(path);
    expect(error?.message).toContain(message);
    expect(`${error?.message} ${error?.stack} ${String(error?.cause)}`).not.toContain('canary');
  });

  test('a file that is not there, and a context that is not known, are named', async () => {
    await expect(config({ kubeconfig: join(folder, 'nowhere') })).rejects.toThrow(
      `kubeconfig ${join(folder, 'nowhere')} (option kubeconfig) cannot be read: ENOENT`,
    );
    await expect(config({ kubeconfig: text, context: 'prod' })).rejects.toThrow(
      'the text given as option kubeconfig has no context "prod"; known contexts: test',
    );
  });

  test('options are checked at once', () => {
    for (const [options, message] of [
      [
        { kubeconfig: 5 },
        'kubernetes: option kubeconfig must be a path, a kubeconfig as text, or a KubeConfig, got 5',
      ],
      [{ kubeconfig: {} }, 'it has no method getContextObject()'],
      [{ source: 'pods' }, 'option source must be one of "endpointslices", "endpoints", got "pods"'],
      [{ family: 5 }, 'option family must be one of 4, 6, "both", got 5'],
      [{ zone: '' }, 'option zone must be a non-empty string'],
      [{ topolgy: 'hints' }, 'unknown option topolgy: known are kubeconfig, context,'],
    ] as const)
      expect(() => kubernetes(options as never)).toThrow(message);
  });
});

describe('where this process is', () => {
  test('the namespace is mounted, and the cluster’s domain is in resolv.conf', () => {
    write('sa/namespace', 'shop\n');
    expect(ownNamespace(join(folder, 'sa'))).toBe('shop');
    expect(ownNamespace(join(folder, 'none'))).toBeUndefined();
    const path = write(
      'resolv.conf',
      'nameserver 10.0.0.10\nsearch cart.svc.k8s.example. svc.k8s.example k8s.example\noptions ndots:5\n',
    );
    expect(clusterNames(path)).toEqual({ namespace: 'cart', domain: 'k8s.example' });
    expect(clusterNames(write('plain.conf', 'search corp.example\n'))).toEqual({
      namespace: undefined,
      domain: 'cluster.local',
    });
    expect(clusterNames(join(folder, 'none'))).toEqual({ namespace: undefined, domain: 'cluster.local' });
  });

  test('zone and node come from the variables or files of the downward API', () => {
    expect(ownLocation({}, folder)).toEqual({ zone: undefined, node: undefined });
    expect(ownLocation({ NODE_NAME: 'n1', NODE_ZONE: 'z1' }, folder)).toEqual({ zone: 'z1', node: 'n1' });
    write('labels', 'app="web"\ntopology.kubernetes.io/zone="z2"\n');
    expect(ownLocation({ NODE_NAME: 'n1' }, folder)).toEqual({ zone: 'z2', node: 'n1' });
    write('zone', 'z3\n');
    expect(ownLocation({}, folder)).toEqual({ zone: 'z3', node: undefined });
  });
});
