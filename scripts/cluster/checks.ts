import { manifests } from '../../src/cli/rbac.ts';
import type { KubernetesOptions } from '../../src/resolvers/kubernetes.ts';
import { type Admin, Refused, type Sandbox } from './admin.ts';
import { Relay } from './relay.ts';
import { Seen } from './seen.ts';

/** Why a check cannot be made here. */
export class Skipped extends Error {}

export interface Check {
  readonly name: string;
  /** Returns what is worth knowing beside that it holds. */
  run(scene: Scene): Promise<string | undefined>;
}

/** What checks work with: a namespace, and watches that are closed after each. */
export class Scene {
  readonly box: Sandbox;
  readonly #options: KubernetesOptions;
  readonly #open: { close(): Promise<unknown> }[] = [];

  constructor(box: Sandbox, options: KubernetesOptions) {
    this.box = box;
    this.#options = options;
  }

  get admin(): Admin {
    return this.box.admin;
  }

  watch(target: string, options: KubernetesOptions = {}, port?: string): Seen {
    return this.later(
      new Seen(target, { ...this.#options, namespace: this.box.namespace, ...options }, port),
    );
  }

  later<T extends { close(): Promise<unknown> }>(one: T): T {
    this.#open.push(one);
    return one;
  }

  async close(): Promise<void> {
    for (const one of this.#open.splice(0).reverse()) await one.close();
  }
}

const ports = { ports: [{ name: 'http', port: 80, targetPort: 8080 }] };

function assert(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

function range(count: number, third = 1): string[] {
  return Array.from({ length: count }, (_, i) => `10.${third}.${i >> 8}.${i & 255}`);
}

/** A kubeconfig for the same server with other credentials, or by another way. */
function kubeconfigOf(admin: Admin, user: string, server = admin.credentials.server, name?: string): string {
  const { ca, rejectUnauthorized, servername } = admin.credentials.tls;
  const lines = [
    `server: ${server}`,
    ...(ca === undefined ? [] : [`certificate-authority-data: ${Buffer.from(ca).toString('base64')}`]),
    ...(rejectUnauthorized ? [] : ['insecure-skip-tls-verify: true']),
    ...((name ?? servername) === undefined ? [] : [`tls-server-name: ${name ?? servername}`]),
  ];
  return `apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster:
    ${lines.join('\n    ')}
users:
- name: test
  user: ${user}
contexts:
- name: test
  context: { cluster: test, user: test }
`;
}

/** The credentials of the kubeconfig under test, as the user entry of another. */
function ownUser({ credentials }: Admin): string {
  const { cert, key } = credentials.tls;
  const { authorization } = credentials.headers;
  const base64 = (pem: string | Buffer): string => Buffer.from(pem).toString('base64');
  if (authorization?.startsWith('Bearer ')) return JSON.stringify({ token: authorization.slice(7) });
  if (cert !== undefined && key !== undefined)
    return JSON.stringify({ 'client-certificate-data': base64(cert), 'client-key-data': base64(key) });
  throw new Skipped('the kubeconfig has neither a token nor a client certificate');
}

/** The same server with the same credentials, over connections that can be counted and cut. */
async function byRelay(scene: Scene): Promise<{ relay: Relay; kubeconfig: string }> {
  const { credentials } = scene.admin;
  const { protocol, hostname, port, pathname } = new URL(credentials.server);
  if (credentials.proxy !== undefined) throw new Skipped('the server is reached by a proxy');
  const relay = scene.later(
    await Relay.start(hostname.replace(/^\[|\]$/g, ''), Number(port || (protocol === 'https:' ? 443 : 80))),
  );
  const by = `${protocol}//127.0.0.1:${relay.port}${pathname.replace(/\/$/, '')}`;
  // An address is no name for TLS; certificates of API servers have this one as well.
  const name =
    hostname === '127.0.0.1' ? undefined : /^[\d.[]/.test(hostname) ? 'kubernetes.default.svc' : hostname;
  return { relay, kubeconfig: kubeconfigOf(scene.admin, ownUser(scene.admin), by, name) };
}

/** Waits until a service account may watch: servers learn of roles by watches of their own. */
async function untilMay(
  { admin, box: { namespace } }: Scene,
  account: string,
  [group, resource, name]: readonly [string, string, string?],
): Promise<void> {
  const attributes = { namespace, group, resource, verb: 'watch', ...(name === undefined ? {} : { name }) };
  for (let i = 0; i < 100; i++) {
    const { status } = await admin.request('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { user: `system:serviceaccount:${namespace}:${account}`, resourceAttributes: attributes },
    });
    if ((status as { allowed?: boolean }).allowed === true) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('a role is not in force 10 s after it was made');
}

/**
 * Makes a service account that may only do what `steersman rbac` prints, with or without the rule that may be left
 * out, and returns its token.
 */
async function limitedToken(
  scene: Scene,
  service: string,
  account: string,
  servicesToo: boolean,
): Promise<string> {
  const { admin, box } = scene;
  const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${box.namespace}`;
  const accounts = `/api/v1/namespaces/${box.namespace}/serviceaccounts`;
  await admin.request('POST', accounts, {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: account },
  });
  const printed = manifests([service], { namespace: box.namespace, account });
  const [role = '', binding] = printed.replaceAll('name: steersman', `name: ${account}`).split('---\n');
  await admin.request(
    'POST',
    `${rbac}/roles`,
    servicesToo ? role : role.slice(0, role.indexOf('  # Maps a URL')),
  );
  await admin.request('POST', `${rbac}/rolebindings`, binding);
  await untilMay(scene, account, ['discovery.k8s.io', 'endpointslices']);
  if (servicesToo) await untilMay(scene, account, ['', 'services', service]);
  const { status } = await admin.request('POST', `${accounts}/${account}/token`, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: {},
  });
  return String((status as { token?: unknown }).token);
}

export const checks: readonly Check[] = [
  {
    name: 'a Service that does not exist is empty, and said so',
    async run(scene) {
      const seen = scene.watch('http://nothing');
      await seen.until('the warning', () =>
        seen.errors.some(({ message }) => message.includes('there is no Service nothing')),
      );
      await seen.is();
      return undefined;
    },
  },
  {
    name: 'endpoints that are added and removed are seen',
    async run(scene) {
      const { box } = scene;
      await box.service('plain', ports);
      const seen = scene.watch('http://plain');
      await seen.is();
      await box.slice('plain-1', { service: 'plain', pods: ['10.1.0.1'] });
      await seen.is('10.1.0.1:8080');
      await box.slice('plain-1', { service: 'plain', pods: ['10.1.0.2', '10.1.0.1'] });
      await seen.is('10.1.0.1:8080', '10.1.0.2:8080');
      await box.slice('plain-1', { service: 'plain', pods: ['10.1.0.2'] });
      await seen.is('10.1.0.2:8080');
      await box.remove('slice', 'plain-1');
      await seen.is();
      assert(seen.errors.length === 0, `errors: ${seen.errors.map(({ message }) => message).join('; ')}`);
      return undefined;
    },
  },
  {
    name: 'readiness, and terminating pods that still serve when none is ready',
    async run(scene) {
      const { box } = scene;
      await box.service('ready', ports);
      await box.slice('ready-1', {
        service: 'ready',
        pods: ['10.1.0.1', { address: '10.1.0.2', ready: false }],
      });
      const seen = scene.watch('http://ready');
      await seen.is('10.1.0.1:8080');
      const leaving = { ready: false, serving: true, terminating: true };
      await box.slice('ready-1', {
        service: 'ready',
        pods: [
          { address: '10.1.0.1', ...leaving },
          { address: '10.1.0.2', ready: true },
        ],
      });
      await seen.is('10.1.0.2:8080');
      await box.slice('ready-1', {
        service: 'ready',
        pods: [
          { address: '10.1.0.1', ...leaving },
          { address: '10.1.0.2', ready: false },
        ],
      });
      await seen.is('10.1.0.1:8080');
      return undefined;
    },
  },
  {
    name: "a URL's port leads to each slice's own; a wrong one is an error that lists those there are",
    async run(scene) {
      const { box } = scene;
      await box.service('mapped', {
        ports: [
          { name: 'http', port: 80, targetPort: 'web' },
          { name: 'grpc', port: 90 },
        ],
      });
      await box.slice('mapped-1', {
        service: 'mapped',
        pods: ['10.1.0.1'],
        ports: [
          { name: 'http', port: 8080 },
          { name: 'grpc', port: 9090 },
        ],
      });
      await box.slice('mapped-2', {
        service: 'mapped',
        pods: ['10.1.0.2'],
        ports: [{ name: 'http', port: 8081 }],
      });
      await scene.watch('http://mapped:80').is('10.1.0.1:8080', '10.1.0.2:8081');
      await scene.watch('http://mapped', {}, 'grpc').is('10.1.0.1:9090');
      const wrong = scene.watch('http://mapped:8080');
      await wrong.error('STEERSMAN_ERR_PORT');
      assert(
        /its ports are (?=.*http 80)(?=.*grpc 90)/.test(wrong.errors[0]?.message ?? ''),
        `the error is ${wrong.errors[0]?.message}`,
      );
      return undefined;
    },
  },
  {
    name: 'an endpoint that moves between slices is never missed',
    async run(scene) {
      const { box } = scene;
      await box.service('moving', ports);
      await box.slice('moving-1', { service: 'moving', pods: ['10.1.0.1', '10.1.0.2'] });
      await box.slice('moving-2', { service: 'moving', pods: ['10.1.0.3'] });
      const seen = scene.watch('http://moving');
      await seen.is('10.1.0.1:8080', '10.1.0.2:8080', '10.1.0.3:8080');
      await box.slice('moving-2', { service: 'moving', pods: ['10.1.0.3', '10.1.0.2'] });
      await box.slice('moving-1', { service: 'moving', pods: ['10.1.0.1'] });
      await box.slice('moving-2', { service: 'moving', pods: ['10.1.0.3', '10.1.0.2', '10.1.0.4'] });
      await seen.until('the fourth', () => seen.addresses.length === 4);
      assert(
        seen.sets.every((set) => set.some(({ address }) => address === '10.1.0.2')),
        'it was missing for a while',
      );
      return undefined;
    },
  },
  {
    name: '1,050 endpoints in 11 slices are one set, and one flip keeps all others',
    async run(scene) {
      const { box } = scene;
      await box.service('large', ports);
      const all = range(1050, 2);
      for (let i = 0; i < 11; i++)
        await box.slice(`large-${i}`, { service: 'large', pods: all.slice(i * 100, i * 100 + 100) });
      const start = performance.now();
      const seen = scene.watch('http://large');
      await seen.until('1050 endpoints', () => seen.sets.at(-1)?.length === 1050);
      const took = performance.now() - start;
      const before = new Set(seen.sets.at(-1));
      const [first = '', ...rest] = all.slice(0, 100);
      await box.slice('large-0', { service: 'large', pods: [{ address: first, ready: false }, ...rest] });
      await seen.until('1049 endpoints', () => seen.sets.at(-1)?.length === 1049);
      assert(seen.sets.at(-1)?.every((endpoint) => before.has(endpoint)) === true, 'others were made anew');
      return `first set after ${took.toFixed(0)} ms, in ${seen.sets.length === 2 ? 'one piece' : `${seen.sets.length - 1} pieces`}`;
    },
  },
  {
    name: 'zone hints are followed only where every ready endpoint has one',
    async run(scene) {
      const { box } = scene;
      await box.service('zones', ports);
      const a = { address: '10.1.0.1', zone: 'a', hint: 'a' };
      const b = { address: '10.1.0.2', zone: 'b', hint: 'b' };
      await box.slice('zones-1', { service: 'zones', pods: [a, b] });
      const seen = scene.watch('http://zones', { zone: 'a' });
      await seen.is('10.1.0.1:8080');
      await scene
        .watch('http://zones', { zone: 'a', topology: 'ignore' })
        .is('10.1.0.1:8080', '10.1.0.2:8080');
      await box.slice('zones-1', { service: 'zones', pods: [a, b, '10.1.0.3'] });
      await seen.is('10.1.0.1:8080', '10.1.0.2:8080', '10.1.0.3:8080');
      return undefined;
    },
  },
  {
    name: 'internalTrafficPolicy Local keeps to the own node',
    async run(scene) {
      const { box } = scene;
      const { spec } = await box.service('local', { ...ports, internalTrafficPolicy: 'Local' });
      if ((spec as { internalTrafficPolicy?: string }).internalTrafficPolicy !== 'Local')
        throw new Skipped('this server knows no internalTrafficPolicy, which came with 1.21');
      await box.slice('local-1', {
        service: 'local',
        pods: [
          { address: '10.1.0.1', node: 'one' },
          { address: '10.1.0.2', node: 'two' },
        ],
      });
      await scene.watch('http://local', { node: 'two' }).is('10.1.0.2:8080');
      return undefined;
    },
  },
  {
    name: 'of two families a pod is used once, or as asked for',
    async run(scene) {
      const { box } = scene;
      await box.service('dual', ports);
      const uid = 'uid-of-both';
      await box.slice('dual-4', { service: 'dual', pods: [{ address: '10.1.0.1', uid }, '10.1.0.2'] });
      await box.slice('dual-6', {
        service: 'dual',
        pods: [{ address: 'fd00:10::1', uid }, 'fd00:10::3'],
        family: 'IPv6',
      });
      await scene.watch('http://dual', { family: 6 }).is('fd00:10::1:8080', 'fd00:10::3:8080');
      await scene.watch('http://dual', { family: 4 }).is('10.1.0.1:8080', '10.1.0.2:8080');
      const both = scene.watch('http://dual');
      await both.until('three pods', () => both.addresses.length === 3);
      assert(
        both.addresses.includes('10.1.0.1:8080') !== both.addresses.includes('fd00:10::1:8080'),
        `the set is ${both.addresses.join(', ')}`,
      );
      return undefined;
    },
  },
  {
    name: 'odd slices: names, no ports, no conditions, one address in two slices',
    async run(scene) {
      const { box } = scene;
      await box.service('odd', ports);
      await box.slice('odd-names', { service: 'odd', pods: ['pod.example.com'], family: 'FQDN' });
      await box.slice('odd-portless', { service: 'odd', pods: ['10.1.0.1'], ports: null });
      await box.slice('odd-bare', { service: 'odd', pods: [{ address: '10.1.0.2', conditions: {} }] });
      const leaving = { ready: false, serving: true, terminating: true };
      await box.slice('odd-leaving', {
        service: 'odd',
        pods: [
          { address: '10.1.0.2', conditions: leaving },
          { address: '10.1.0.3', conditions: leaving },
        ],
      });
      const seen = scene.watch('http://odd');
      await seen.is('10.1.0.1:8080', '10.1.0.2:8080');
      assert(
        seen.errors.some(({ message }) => message.includes('FQDN')),
        'nothing was said of the slice that holds names',
      );
    },
  },
  {
    name: 'a Service of type ExternalName is named, with what to do',
    async run(scene) {
      await scene.box.service('external', { type: 'ExternalName', externalName: 'db.example.com' });
      await scene.watch('http://external').error('STEERSMAN_ERR_EXTERNAL_NAME');
      return undefined;
    },
  },
  {
    name: 'a Service that is deleted and made again is followed',
    async run(scene) {
      const { box } = scene;
      await box.service('again', ports);
      await box.slice('again-1', { service: 'again', pods: ['10.1.0.1'] });
      const seen = scene.watch('http://again');
      await seen.is('10.1.0.1:8080');
      await box.remove('service', 'again');
      await box.remove('slice', 'again-1').catch((error: unknown) => {
        // A controller may have been faster.
        if (!(error instanceof Refused) || error.status !== 404) throw error;
      });
      await seen.is();
      await box.service('again', ports);
      await box.slice('again-2', { service: 'again', pods: ['10.1.0.9'] });
      await seen.is('10.1.0.9:8080');
      return undefined;
    },
  },
  {
    name: 'v1 Endpoints, as an explicit source',
    async run(scene) {
      const { box, admin } = scene;
      await box.service('legacy', ports);
      await admin.request('POST', `/api/v1/namespaces/${box.namespace}/endpoints`, {
        apiVersion: 'v1',
        kind: 'Endpoints',
        metadata: { name: 'legacy' },
        subsets: [
          {
            addresses: [{ ip: '10.1.0.1' }],
            notReadyAddresses: [{ ip: '10.1.0.2' }],
            ports: [{ name: 'http', port: 8080 }],
          },
        ],
      });
      await scene.watch('http://legacy', { source: 'endpoints' }).is('10.1.0.1:8080');
      return undefined;
    },
  },
  {
    name: 'a token that is not known is refused, and the token is in no error',
    async run(scene) {
      const kubeconfig = kubeconfigOf(scene.admin, '{ token: canary-not-a-token }');
      const seen = scene.watch('http://plain', { kubeconfig });
      await seen.until('an error', () => seen.errors.length > 0);
      const [error] = seen.errors;
      const [code] = seen.codes;
      assert(
        code === 'STEERSMAN_ERR_UNAUTHORIZED' || code === 'STEERSMAN_ERR_FORBIDDEN',
        `the error is ${error?.message}`,
      );
      assert(!`${error?.message} ${error?.stack}`.includes('canary'), 'the token is in the error');
      return undefined;
    },
  },
  {
    name: 'the role that steersman rbac prints is enough, and what it leaves out is named',
    async run(scene) {
      const { box, admin } = scene;
      await box.service('limited', ports);
      await box.slice('limited-1', { service: 'limited', pods: ['10.1.0.1'] });
      let token: string;
      try {
        token = await limitedToken(scene, 'limited', 'reader', true);
      } catch (error) {
        if (error instanceof Refused && [404, 405, 415].includes(error.status))
          throw new Skipped(`no service account tokens here: ${error.message}`);
        throw error;
      }
      const kubeconfig = kubeconfigOf(admin, JSON.stringify({ token }));
      const seen = scene.watch('http://limited', { kubeconfig });
      await seen.is('10.1.0.1:8080');
      assert(seen.errors.length === 0, `errors: ${seen.errors.map(({ message }) => message).join('; ')}`);
      const elsewhere = scene.watch('http://kubernetes.default', { kubeconfig });
      await elsewhere.until('a set or an error', () => elsewhere.errors.length + elsewhere.sets.length > 0);
      if (elsewhere.errors.length === 0) return 'the server does not enforce RBAC: nothing was forbidden';
      const [error] = elsewhere.errors;
      assert(elsewhere.codes[0] === 'STEERSMAN_ERR_FORBIDDEN', `the error is ${error?.message}`);
      assert(error?.message.includes('verbs [list, watch]') === true, 'the rule is not named');
      const narrow = kubeconfigOf(
        admin,
        JSON.stringify({ token: await limitedToken(scene, 'limited', 'narrow', false) }),
      );
      const guessing = scene.watch('http://limited', { kubeconfig: narrow });
      await guessing.is('10.1.0.1:8080');
      await box.slice('limited-2', {
        service: 'limited',
        pods: ['10.1.0.2'],
        ports: [
          { name: 'http', port: 8081 },
          { name: 'grpc', port: 9090 },
        ],
      });
      await box.remove('slice', 'limited-1');
      await guessing.error('STEERSMAN_ERR_PORT');
      await scene.watch('http://limited', { kubeconfig: narrow }, 'grpc').is('10.1.0.2:9090');
      return undefined;
    },
  },
  {
    name: 'all watches of a process share one connection, and one watch of a Service',
    async run(scene) {
      const { box } = scene;
      const { relay, kubeconfig } = await byRelay(scene);
      for (const name of ['shared-a', 'shared-b']) {
        await box.service(name, ports);
        await box.slice(`${name}-1`, { service: name, pods: ['10.1.0.1'] });
      }
      const all = Array.from({ length: 40 }, (_, i) =>
        scene.watch(`http://shared-${i % 2 === 0 ? 'a' : 'b'}`, { kubeconfig }),
      );
      for (const seen of all) await seen.is('10.1.0.1:8080');
      await box.slice('shared-a-1', { service: 'shared-a', pods: ['10.1.0.2'] });
      for (const seen of all.filter((_, i) => i % 2 === 0)) await seen.is('10.1.0.2:8080');
      const { open } = relay;
      for (const seen of all) await seen.close();
      await relay.idle();
      // Without HTTP/2 each of the two Services has a connection for its slices and one for itself.
      assert(open === 1 || open === 4, `40 watches of two Services hold ${open} connections`);
      return `${open === 1 ? 'one connection, by HTTP/2' : 'no HTTP/2 here: one for each request'}, closed with the last watch`;
    },
  },
  {
    name: 'a watch that is cut comes back with what it missed, and its set is kept meanwhile',
    async run(scene) {
      const { box } = scene;
      const { relay, kubeconfig } = await byRelay(scene);
      await box.service('cut', ports);
      await box.slice('cut-1', { service: 'cut', pods: ['10.1.0.1'] });
      const seen = scene.watch('http://cut', { kubeconfig });
      await seen.is('10.1.0.1:8080');
      const start = performance.now();
      relay.reset();
      await seen.until('the set once more', () => seen.sets.length === 2);
      const took = performance.now() - start;
      relay.cut = true;
      relay.reset();
      await box.slice('cut-1', { service: 'cut', pods: ['10.1.0.2'] });
      await new Promise((resolve) => setTimeout(resolve, 500));
      assert(seen.addresses.join() === '10.1.0.1:8080', 'the set was not kept');
      relay.cut = false;
      await seen.is('10.1.0.2:8080');
      return `back ${took.toFixed(0)} ms after a reset; ${relay.connections} connections in all`;
    },
  },
  {
    name: 'a change is seen soon',
    async run(scene) {
      const { box } = scene;
      await box.service('soon', ports);
      await box.slice('soon-1', { service: 'soon', pods: ['10.1.0.1', '10.1.0.2'] });
      const seen = scene.watch('http://soon');
      await seen.until('the set', () => seen.addresses.length === 2);
      const times: number[] = [];
      for (let i = 0; i < 40; i++) {
        const ready = i % 2 === 1;
        const start = performance.now();
        const written = box.slice('soon-1', {
          service: 'soon',
          pods: ['10.1.0.1', { address: '10.1.0.2', ready }],
        });
        await seen.until('the flip', () => seen.addresses.length === (ready ? 2 : 1));
        times.push(performance.now() - start);
        await written;
      }
      times.sort((a, b) => a - b);
      return `from the start of a GET and PUT to the listener: median ${times[20]?.toFixed(0)} ms, slowest ${times.at(-1)?.toFixed(0)} ms`;
    },
  },
];
