import { type Clock, type Random, systemClock, systemRandom } from '../core/clock.ts';
import {
  boolean,
  checkOptions,
  func,
  implementing,
  integer,
  number,
  oneOf,
  shape,
  string,
} from '../core/options.ts';
import { Addresses } from './fake-cluster/addresses.ts';
import { FakeApi } from './fake-cluster/api-server.ts';
import { EndpointsController } from './fake-cluster/controller.ts';
import { FakeService } from './fake-cluster/fake-service.ts';
import { kubeconfigText, TemporaryFile } from './fake-cluster/kubeconfig.ts';
import type { ApiTls } from './fake-cluster/listener.ts';
import { type KubeObject, uid } from './fake-cluster/objects.ts';
import { everything } from './fake-cluster/rbac.ts';
import { namespaces, type Resource, resourceOfKind, services } from './fake-cluster/resources.ts';
import type { FakeServiceOptions } from './fake-cluster/service-options.ts';
import { typed } from './fake-cluster/status.ts';
import { Store } from './fake-cluster/store.ts';
import { type Manifest, Writer } from './fake-cluster/writing.ts';

export interface FakeClusterOptions {
  /** Where services and calls without a namespace are; `'default'` by default. */
  readonly namespace?: string;
  /** ms from a change of a pod to the change of its slice; 0 by default. Real clusters take 40–150 ms. */
  readonly propagation?: number;
  /** Endpoints per slice, 100 by default as kube-controller-manager has it. */
  readonly endpointsPerSlice?: number;
  /**
   * Whether pods have addresses of their own, all with the same port, or share 127.0.0.1, each with a port of its
   * own; the former by default where the system has more loopback addresses than one, as Linux has.
   */
  readonly podAddresses?: 'own' | 'shared';
  /** ms between the bookmarks of a watch, 60 000 by default. */
  readonly bookmarkInterval?: number;
  /** Changes that can be watched from later, 1000 by default. */
  readonly history?: number;
  /** Serves the API over TLS, in HTTP/2 too; plain HTTP by default. */
  readonly tls?: ApiTls;
  /** Whether callers without a token may do everything: kubectl sends none over plain HTTP. False by default. */
  readonly anonymous?: boolean;
  /** What bookmarks, timeouts, latencies and terminations go by; the system's by default. */
  readonly clock?: Clock;
  /** Names, uids, failure rates and the virtual IP's choices; the system's by default. */
  readonly random?: Random;
}

const clusterShape = {
  namespace: string,
  propagation: number(0),
  endpointsPerSlice: integer(1, 1000),
  podAddresses: oneOf('own', 'shared'),
  bookmarkInterval: number(1),
  history: integer(1),
  tls: shape({ cert: string, key: string, ca: string }),
  anonymous: boolean,
  clock: implementing('a Clock', 'now', 'schedule'),
  random: func,
};

/**
 * A Kubernetes cluster within the process, on loopback: an API server that lists and watches as a real one does,
 * the endpoint controllers, and Services whose pods are real HTTP servers. `close()` leaves nothing behind.
 */
export class FakeCluster implements AsyncDisposable {
  /** What the API answers, what it was asked, and the trouble it can make. */
  readonly api: FakeApi;
  readonly namespace: string;
  readonly #store: Store;
  readonly #writer: Writer;
  readonly #controller: EndpointsController;
  readonly #addresses: Addresses;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #services: FakeService[] = [];
  readonly #ca: string | undefined;
  #token: string;
  #file: TemporaryFile | undefined;

  private constructor(options: FakeClusterOptions, addresses: Addresses) {
    const { clock = systemClock, random = systemRandom, endpointsPerSlice = 100 } = options;
    this.namespace = options.namespace ?? 'default';
    this.#clock = clock;
    this.#random = random;
    this.#addresses = addresses;
    const store = new Store(options.history ?? 1000);
    const writer = new Writer(store, random, (...args) => this.#admit(...args));
    this.#store = store;
    this.#writer = writer;
    const settings = { store, writer, clock, random, endpointsPerSlice };
    this.#controller = new EndpointsController(settings, options.propagation ?? 0);
    this.#token = uid(random);
    const { tls } = options;
    this.#ca = tls && (tls.ca ?? tls.cert);
    const bookmarkInterval = options.bookmarkInterval ?? 60_000;
    const anonymous = options.anonymous === true ? everything : [];
    this.api = new FakeApi({ store, writer, clock, random, bookmarkInterval, tls, anonymous }, this.#token);
  }

  /**
   * Resolves when the API server listens.
   *
   * @throws {TypeError | RangeError} for options that are wrong.
   */
  static async start(options: FakeClusterOptions = {}): Promise<FakeCluster> {
    checkOptions('FakeCluster.start', clusterShape, options);
    const { tls } = options;
    if (tls !== undefined && (tls.cert === undefined || tls.key === undefined))
      throw new TypeError('FakeCluster.start: option tls must have a cert and a key');
    const shared = options.podAddresses === 'shared';
    const addresses = shared ? Addresses.shared() : await Addresses.find(systemRandom);
    if (options.podAddresses === 'own' && !addresses.distinct)
      throw new Error('FakeCluster.start: this system has no loopback address but 127.0.0.1 for pods');
    const cluster = new FakeCluster(options, addresses);
    try {
      await cluster.api.listen();
      cluster.#file = await TemporaryFile.create('kubeconfig', cluster.kubeconfigText);
      cluster.#namespace(cluster.namespace);
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  /** Of the API server. */
  get url(): string {
    return this.api.url;
  }

  /** What authorizes requests to the API: `Authorization: Bearer …`. */
  get token(): string {
    return this.#token;
  }

  /** Path of a kubeconfig for this cluster; the file is removed at the end. */
  get kubeconfig(): string {
    if (this.#file === undefined) throw new Error('the cluster is closed');
    return this.#file.path;
  }

  get kubeconfigText(): string {
    return kubeconfigText({ server: this.url, token: this.#token, namespace: this.namespace, ca: this.#ca });
  }

  /** ms from a change of a pod to the change of its slice. */
  get propagation(): number {
    return this.#controller.propagation;
  }

  set propagation(propagation: number) {
    number(0)(propagation, 'propagation');
    this.#controller.propagation = propagation;
  }

  /** Creates a Service and its pods; resolves when they are ready and the slices say so. */
  service(name: string, options: FakeServiceOptions = {}): Promise<FakeService> {
    return FakeService.create(name, options, {
      store: this.#store,
      clock: this.#clock,
      random: this.#random,
      addresses: this.#addresses,
      controller: this.#controller,
      namespace: this.namespace,
      createService: (...args) => this.#createService(...args),
      deleteService: (...args) => this.#deleteService(...args),
      register: (created) => this.#services.push(created),
    });
  }

  /** Creates or replaces an object, e.g. a hand-made slice, and its namespace; returns it as it is kept. */
  apply(manifest: Manifest): KubeObject {
    const { resource, namespace, name } = this.#identify(manifest);
    if (namespace !== undefined) this.#namespace(namespace);
    const current = this.#store.get(resource, namespace, name);
    const kept =
      current === undefined
        ? this.#writer.create(resource, namespace, manifest)
        : this.#writer.update(resource, namespace, name, manifest);
    return typed(resource, kept) as unknown as KubeObject;
  }

  /** Deletes an object, named by a manifest's kind, name and namespace. */
  delete(manifest: Manifest): void {
    const { resource, namespace, name } = this.#identify(manifest);
    this.#writer.delete(resource, namespace, name);
  }

  /** Replaces the token, in the kubeconfig too: the old one is refused from now on (401). */
  async rotateToken(): Promise<string> {
    this.#token = uid(this.#random);
    this.api.accept(this.#token);
    await this.#file?.write(this.kubeconfigText);
    return this.#token;
  }

  /** Stops every server and removes every file. */
  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    this.#controller.close();
    await this.api.down();
    await Promise.all([...this.#services.map((service) => service.close()), file?.remove()]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #identify(manifest: Manifest): { resource: Resource; namespace: string | undefined; name: string } {
    const { kind, apiVersion, metadata } = manifest;
    const resource = resourceOfKind(String(kind), String(apiVersion));
    if (resource === undefined)
      throw new TypeError(`the fake cluster has no kind ${String(kind)} in ${String(apiVersion)}`);
    const { name = '', namespace } = (metadata ?? {}) as { name?: string; namespace?: string };
    return { resource, namespace: resource.namespaced ? (namespace ?? this.namespace) : undefined, name };
  }

  #namespace(name: string): void {
    if (this.#store.get(namespaces, undefined, name) === undefined)
      this.#writer.create(namespaces, undefined, { metadata: { name } });
  }

  #createService(name: string, namespace: string, spec: Record<string, unknown>): string {
    this.#namespace(namespace);
    const { spec: kept } = this.#writer.create(services, namespace, { metadata: { name }, spec });
    return String((kept as { clusterIP?: unknown }).clusterIP);
  }

  #deleteService(name: string, namespace: string): void {
    if (this.#store.get(services, namespace, name)) this.#writer.delete(services, namespace, name);
  }

  /** What the server adds to an object that is written. */
  #admit(resource: Resource, object: KubeObject, current: KubeObject | undefined): KubeObject {
    if (resource === namespaces)
      return { ...object, spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } };
    const spec = specOf(object);
    if (resource !== services || spec['type'] === 'ExternalName') return object;
    const clusterIP =
      spec['clusterIP'] ?? (current && specOf(current)['clusterIP']) ?? this.#addresses.next();
    return {
      ...object,
      spec: { type: 'ClusterIP', sessionAffinity: 'None', ...spec, clusterIP, clusterIPs: [clusterIP] },
      status: object['status'] ?? { loadBalancer: {} },
    };
  }
}

const specOf = (object: KubeObject): Record<string, unknown> =>
  (object['spec'] ?? {}) as Record<string, unknown>;
