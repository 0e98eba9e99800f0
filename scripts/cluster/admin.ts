import type { Dispatcher } from 'undici';
import { clusterConfig } from '../../src/resolvers/kubernetes/config.ts';
import { Connection } from '../../src/resolvers/kubernetes/connection.ts';
import type { ClusterConfig, Credentials } from '../../src/resolvers/kubernetes/credentials.ts';

export interface KubeObject {
  readonly metadata?: { readonly name?: string; readonly resourceVersion?: string };
  readonly [field: string]: unknown;
}

/** What an API server answered with, when it was no success. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Writes to the cluster under test, with the credentials of the current kubeconfig. */
export class Admin {
  readonly credentials: Credentials;
  readonly #config: ClusterConfig;
  readonly #connection: Connection;

  private constructor(config: ClusterConfig, credentials: Credentials) {
    this.#config = config;
    this.credentials = credentials;
    this.#connection = new Connection(credentials, { onGoaway() {}, onGone() {} });
  }

  static async connect(context: string | undefined): Promise<Admin> {
    const config = await clusterConfig(context === undefined ? {} : { context });
    return new Admin(config, await config.credentials(false));
  }

  async request(
    method: Dispatcher.HttpMethod,
    path: string,
    /** A text is YAML. */
    body?: object | string,
  ): Promise<KubeObject> {
    const { server, headers } = await this.#config.credentials(false);
    const url = new URL(server);
    const { statusCode, body: answer } = await this.#connection.dispatcher.request({
      origin: url.origin,
      path: url.pathname.replace(/\/$/, '') + path,
      method,
      headers: {
        accept: 'application/json',
        ...headers,
        ...(body === undefined
          ? {}
          : { 'content-type': `application/${typeof body === 'string' ? 'yaml' : 'json'}` }),
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (statusCode >= 300)
      throw new Refused(statusCode, `${method} ${path}: ${statusCode} ${messageOf(text)}`);
    return JSON.parse(text) as KubeObject;
  }

  close(): Promise<void> {
    return this.#connection.destroy();
  }
}

function messageOf(text: string): string {
  try {
    return String((JSON.parse(text) as { message?: unknown }).message ?? '');
  } catch {
    return text.slice(0, 200);
  }
}

const slicesPath = (namespace: string): string =>
  `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;

export interface Pod {
  readonly address: string;
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
  readonly zone?: string;
  readonly hint?: string;
  readonly node?: string;
  /** Of the pod; else one for each address. */
  readonly uid?: string;
  /** In place of the three above. */
  readonly conditions?: object;
}

export interface SliceSpec {
  readonly service: string;
  readonly pods: readonly (Pod | string)[];
  readonly ports?: readonly object[] | null;
  readonly family?: 'IPv4' | 'IPv6' | 'FQDN';
}

/** One namespace of the cluster under test, and what is made in it. */
export class Sandbox {
  readonly admin: Admin;
  readonly namespace: string;

  constructor(admin: Admin, namespace: string) {
    this.admin = admin;
    this.namespace = namespace;
  }

  async create(): Promise<void> {
    await this.admin.request('POST', '/api/v1/namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: this.namespace },
    });
  }

  service(name: string, spec: object): Promise<KubeObject> {
    return this.admin.request('POST', `/api/v1/namespaces/${this.namespace}/services`, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name },
      spec,
    });
  }

  /** Creates the slice, or replaces what it says. */
  async slice(
    name: string,
    { service, pods, ports = [{ name: 'http', port: 8080 }], family = 'IPv4' }: SliceSpec,
  ): Promise<KubeObject> {
    const object = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name,
        labels: {
          'kubernetes.io/service-name': service,
          'endpointslice.kubernetes.io/managed-by': 'steersman-test',
        },
      },
      addressType: family,
      endpoints: pods.map((pod) => endpointOf(typeof pod === 'string' ? { address: pod } : pod)),
      ports,
    };
    try {
      const known = await this.admin.request('GET', `${slicesPath(this.namespace)}/${name}`);
      return await this.admin.request('PUT', `${slicesPath(this.namespace)}/${name}`, {
        ...object,
        metadata: { ...object.metadata, resourceVersion: known.metadata?.resourceVersion },
      });
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 404) throw error;
      return this.admin.request('POST', slicesPath(this.namespace), object);
    }
  }

  async remove(kind: 'slice' | 'service', name: string): Promise<void> {
    const path =
      kind === 'slice' ? slicesPath(this.namespace) : `/api/v1/namespaces/${this.namespace}/services`;
    await this.admin.request('DELETE', `${path}/${name}`);
  }

  /** Removes all, also where no controller empties namespaces. */
  async destroy(): Promise<void> {
    const { admin, namespace } = this;
    const collections = [
      slicesPath(namespace),
      `/api/v1/namespaces/${namespace}/services`,
      `/api/v1/namespaces/${namespace}/endpoints`,
      `/api/v1/namespaces/${namespace}/serviceaccounts`,
      `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/rolebindings`,
      `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/roles`,
    ];
    for (const path of collections) {
      const { items = [] } = (await admin.request('GET', path).catch(() => ({}))) as {
        items?: readonly KubeObject[];
      };
      for (const { metadata } of items)
        await admin.request('DELETE', `${path}/${metadata?.name}`).catch(() => {});
    }
    await admin.request('DELETE', `/api/v1/namespaces/${namespace}`);
    for (let i = 0; i < 300; i++) {
      const left = await admin.request('GET', `/api/v1/namespaces/${namespace}`).catch(() => undefined);
      if (left === undefined) return;
      // Without a namespace controller, which would have noted conditions by now, nobody else does this.
      if (i === 25 && (left['status'] as { conditions?: unknown } | undefined)?.conditions === undefined)
        await admin
          .request('PUT', `/api/v1/namespaces/${namespace}/finalize`, { ...left, spec: { finalizers: [] } })
          .catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(
      `the namespace ${namespace} is still there: remove it with kubectl delete namespace ${namespace}`,
    );
  }
}

function endpointOf({
  address,
  ready = true,
  serving = ready,
  terminating = false,
  zone,
  hint,
  node,
  uid = `uid-${address}`,
  conditions = { ready, serving, terminating },
}: Pod): object {
  return {
    addresses: [address],
    conditions,
    targetRef: { kind: 'Pod', name: `pod-${address.replace(/[.:]/g, '-')}`, uid },
    ...(zone === undefined ? {} : { zone }),
    ...(node === undefined ? {} : { nodeName: node }),
    ...(hint === undefined ? {} : { hints: { forZones: [{ name: hint }] } }),
  };
}
