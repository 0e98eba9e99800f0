import type { Clock, Random } from '../../core/clock.ts';
import { checkOptions, integer } from '../../core/options.ts';
import type { Addresses } from './addresses.ts';
import type { EndpointsController, PodView } from './controller.ts';
import { generatedName, uid } from './objects.ts';
import { echo, FakePod, type Termination } from './pod.ts';
import { PodServer } from './pod-server.ts';
import { type Rollout, rollOut, rolloutShape } from './rollout.ts';
import {
  type FakeServiceOptions,
  type OpenPort,
  openPorts,
  serviceShape,
  serviceSpec,
} from './service-options.ts';
import type { Store } from './store.ts';
import { VirtualIp } from './virtual-ip.ts';

const defaultZones = ['zone-a', 'zone-b', 'zone-c'];

/** What a service needs of its cluster. */
export interface ServiceHost {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly addresses: Addresses;
  readonly controller: EndpointsController;
  readonly namespace: string;
  /** Creates the Service object; returns its address. */
  createService(name: string, namespace: string, spec: Record<string, unknown>): string;
  deleteService(name: string, namespace: string): void;
  /** Takes the service among those that are closed with the cluster. */
  register(service: FakeService): void;
}

/** A Service with its pods. Made by `FakeCluster.service`. */
export class FakeService {
  readonly name: string;
  readonly namespace: string;
  /** The Service's first port. */
  readonly port: number;
  /** The Service's address in the API, where `virtualIp()` listens; `'None'` for a headless one. */
  readonly clusterIP: string;
  readonly #host: ServiceHost;
  readonly #options: FakeServiceOptions;
  readonly #ports: readonly OpenPort[];
  readonly #replicaSet: string;
  #pods: FakePod[] = [];
  /** Of this service alone, while it restarts. */
  #propagation: number | undefined;
  #virtualIp: Promise<VirtualIp> | undefined;
  #born = 0;

  private constructor(
    name: string,
    options: FakeServiceOptions,
    host: ServiceHost,
    ports: readonly OpenPort[],
    clusterIP: string,
  ) {
    this.name = name;
    this.namespace = options.namespace ?? host.namespace;
    this.port = ports[0]?.port ?? 0;
    this.clusterIP = clusterIP;
    this.#host = host;
    this.#options = options;
    this.#ports = ports;
    this.#replicaSet = generatedName(host.random, `${name}-`);
  }

  /** Used by the cluster. */
  static async create(name: string, options: FakeServiceOptions, host: ServiceHost): Promise<FakeService> {
    checkOptions('service', serviceShape, options);
    if (options.ports?.length === 0)
      throw new RangeError('service: option ports must hold at least one port');
    const ports = await openPorts(options, host.addresses);
    const spec = serviceSpec(name, options, ports, host.addresses.distinct);
    const clusterIP = host.createService(name, options.namespace ?? host.namespace, spec);
    const service = new FakeService(name, options, host, ports, clusterIP);
    host.register(service);
    await service.scale(options.replicas ?? 1);
    return service;
  }

  /** Pods that are not gone, oldest first: those that terminate are among them. */
  get pods(): readonly FakePod[] {
    return this.#pods;
  }

  /**
   * Starts pods, or terminates the newest without preStop, until there are `replicas`. Resolves when all are ready,
   * the others gone, and the slices say so.
   */
  async scale(replicas: number, termination: Termination = {}): Promise<void> {
    integer(0, 10_000)(replicas, 'replicas');
    const live = this.#pods.filter(({ phase }) => phase === 'running');
    const missing = replicas - live.length;
    if (missing > 0) await this.#startMany(missing);
    else await Promise.all(live.slice(replicas).map((pod) => pod.terminate(termination)));
    await this.#host.controller.settled(this);
  }

  /**
   * Replaces every pod as a Deployment does: new ones start, and when they are ready as many old ones terminate.
   * Resolves when the old ones are gone and the slices say so.
   */
  async rollingRestart(rollout: Rollout = {}): Promise<void> {
    checkOptions('rollingRestart', rolloutShape, rollout);
    const { controller } = this.#host;
    this.#propagation = rollout.propagation;
    try {
      const live = this.#pods.filter(({ phase }) => phase === 'running');
      await rollOut(live, rollout, (count) => this.#startMany(count));
      await controller.settled(this);
    } finally {
      this.#propagation = undefined;
    }
  }

  /** Starts, at the first call, what stands in for kube-proxy on the Service's first port. */
  virtualIp(): Promise<VirtualIp> {
    const { name, namespace, port, clusterIP } = this;
    if (clusterIP === 'None') throw new TypeError(`service ${name} is headless: it has no virtual IP`);
    const portName = this.#ports[0]?.name ?? '';
    const { store, random } = this.#host;
    this.#virtualIp ??= VirtualIp.listen(store, { namespace, name, portName }, random, clusterIP, port);
    return this.#virtualIp;
  }

  /** Deletes the Service and kills its pods. */
  async delete(): Promise<void> {
    this.#host.deleteService(this.name, this.namespace);
    await this.close();
    await this.#host.controller.settled(this);
  }

  /** Used by the cluster. Kills the pods and stops the virtual IP. */
  async close(): Promise<void> {
    const virtualIp = this.#virtualIp;
    this.#virtualIp = undefined;
    for (const pod of [...this.#pods]) pod.kill();
    await (await virtualIp)?.close();
  }

  async #startMany(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#start()));
    await this.#host.controller.settled(this);
  }

  async #start(): Promise<void> {
    const { clock, random, controller, addresses } = this.#host;
    const { zones = defaultZones, nodes = zones.map((zone) => `node-${zone}`) } = this.#options;
    const { startup = 0, latency = 0, handler = echo } = this.#options;
    const turn = this.#born++;
    const server = new PodServer();
    const wanted = this.#ports.map(({ containerName, targetPort }) => [containerName, targetPort] as const);
    await server.start(new Map(wanted), addresses);
    const pod = new FakePod({
      name: generatedName(random, `${this.#replicaSet}-`),
      namespace: this.namespace,
      uid: uid(random),
      labels: { app: this.name },
      node: nodes[turn % nodes.length] ?? '',
      zone: zones[turn % zones.length] ?? '',
      handler,
      latency,
      clock,
      random,
      server,
      onChange: () => {
        if (pod.phase === 'gone') this.#pods = this.#pods.filter((other) => other !== pod);
        controller.changed(this, pod.uid, viewOf(pod), this.#propagation);
      },
    });
    this.#pods.push(pod);
    controller.changed(this, pod.uid, viewOf(pod), this.#propagation);
    await pod.start(startup);
  }
}

function viewOf(pod: FakePod): PodView | undefined {
  if (pod.phase === 'gone') return undefined;
  const { name, namespace, uid: id, labels, address, node, zone, ports, serving, phase } = pod;
  return {
    name,
    namespace,
    uid: id,
    labels,
    address,
    node,
    zone,
    ports,
    serving,
    terminating: phase !== 'running',
  };
}
