import type { Clock, Random } from '../../core/clock.ts';
import {
  arrayOf,
  boolean,
  type Check,
  checkOptions,
  func,
  integer,
  number,
  shape,
  string,
} from '../../core/options.ts';
import { type Addresses, freePort } from './addresses.ts';
import type { EndpointsController } from './controller.ts';
import { generatedName, uid } from './objects.ts';
import { echo, FakePod, type PodHandler, type Termination } from './pod.ts';
import { PodServer } from './pod-server.ts';
import { type Rollout, rollOut, rolloutShape } from './rollout.ts';
import type { Store } from './store.ts';
import { VirtualIp } from './virtual-ip.ts';

/** One port of a Service. */
export interface ServicePort {
  /** `''` for an unnamed one. */
  readonly name: string;
  readonly port: number;
  /** What pods listen on; any free port when absent. */
  readonly targetPort?: number;
  readonly appProtocol?: string;
}

export interface FakeServiceOptions {
  /** Pods to start with; 1 by default. */
  readonly replicas?: number;
  /** The cluster's own by default. */
  readonly namespace?: string;
  /** The Service's port, 8080 by default. */
  readonly port?: number;
  /** What pods listen on; by default any free port, the same for all pods, so never the Service's. */
  readonly targetPort?: number;
  /** `'http'` by default; `''` for an unnamed port. */
  readonly portName?: string;
  /** Several ports instead of `port`, `targetPort` and `portName`; one handler answers on all. */
  readonly ports?: readonly ServicePort[];
  /** Answers requests; echoes them as JSON by default. */
  readonly handler?: PodHandler;
  /** ms before the handler runs, for pods to come; 0 by default. */
  readonly latency?: number | (() => number);
  /** ms from the start of a pod to its being ready; 0 by default. */
  readonly startup?: number;
  /** Zones for the pods, in turn; `['zone-a', 'zone-b', 'zone-c']` by default. */
  readonly zones?: readonly string[];
  /** Nodes for the pods, in turn; one per zone by default, named after it. */
  readonly nodes?: readonly string[];
  /** A Service without a ClusterIP. */
  readonly headless?: boolean;
  readonly publishNotReadyAddresses?: boolean;
  /** `'PreferSameZone'` or `'PreferSameNode'`: the slices carry hints. */
  readonly trafficDistribution?: string;
}

const defaultPort = 8080;
const defaultZones = ['zone-a', 'zone-b', 'zone-c'];

const positivePort = integer(1, 65_535);
const anyText: Check = (value, name) => {
  if (value !== '') string(value, name);
};
const latencyCheck: Check = (value, name) => {
  if (typeof value !== 'function') number(0)(value, name);
};

const serviceShape = {
  replicas: integer(0, 10_000),
  namespace: string,
  port: positivePort,
  targetPort: positivePort,
  portName: anyText,
  ports: arrayOf(shape({ name: anyText, port: positivePort, targetPort: positivePort, appProtocol: string })),
  handler: func,
  latency: latencyCheck,
  startup: number(0),
  zones: arrayOf(string),
  nodes: arrayOf(string),
  headless: boolean,
  publishNotReadyAddresses: boolean,
  trafficDistribution: string,
};

/** A port whose number on the pods is settled. */
interface OpenPort extends ServicePort {
  readonly targetPort: number;
}

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
  /** Takes the service among those whose pods count. */
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
    this.port = ports[0]?.port ?? defaultPort;
    this.clusterIP = clusterIP;
    this.#host = host;
    this.#options = options;
    this.#ports = ports;
    this.#replicaSet = generatedName(host.random, `${name}-`);
  }

  /** Used by the cluster. */
  static async create(name: string, options: FakeServiceOptions, host: ServiceHost): Promise<FakeService> {
    checkOptions('service', serviceShape, options);
    const { port = defaultPort, targetPort, portName = 'http', headless, trafficDistribution } = options;
    const given = options.ports ?? [
      { name: portName, port, ...(targetPort === undefined ? {} : { targetPort }) },
    ];
    const ports = [];
    for (const one of given)
      ports.push({ ...one, targetPort: one.targetPort ?? (await freePort(host.addresses.next())) });
    const clusterIP = host.createService(name, options.namespace ?? host.namespace, {
      ...(headless === true ? { clusterIP: 'None' } : {}),
      ...(options.publishNotReadyAddresses === true ? { publishNotReadyAddresses: true } : {}),
      ...(trafficDistribution === undefined ? {} : { trafficDistribution }),
      selector: { app: name },
      ports: ports.map((one) => ({
        ...(one.name === '' ? {} : { name: one.name }),
        protocol: 'TCP',
        port: one.port,
        // Pods that share one address listen on ports of their own, which only a name can stand for.
        targetPort: host.addresses.distinct || one.name === '' ? one.targetPort : one.name,
        ...(one.appProtocol === undefined ? {} : { appProtocol: one.appProtocol }),
      })),
    });
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
    await this.#host.controller.settled();
  }

  /**
   * Replaces every pod as a Deployment does: new ones start, and when they are ready as many old ones terminate.
   * Resolves when the old ones are gone and the slices say so.
   */
  async rollingRestart(rollout: Rollout = {}): Promise<void> {
    checkOptions('rollingRestart', rolloutShape, rollout);
    const { controller } = this.#host;
    const usual = controller.propagation;
    controller.propagation = rollout.propagation ?? usual;
    try {
      const live = this.#pods.filter(({ phase }) => phase === 'running');
      await rollOut(live, rollout, (count) => this.#startMany(count), controller);
      await controller.settled();
    } finally {
      controller.propagation = usual;
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
  async close(): Promise<void> {
    const virtualIp = this.#virtualIp;
    this.#virtualIp = undefined;
    for (const pod of [...this.#pods]) pod.kill();
    await (await virtualIp)?.close();
  }

  async #startMany(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#start()));
    await this.#host.controller.settled();
  }

  async #start(): Promise<void> {
    const { clock, random, controller, addresses } = this.#host;
    const { zones = defaultZones, nodes = zones.map((zone) => `node-${zone}`) } = this.#options;
    const { startup = 0, latency = 0, handler = echo } = this.#options;
    const turn = this.#born++;
    const server = new PodServer();
    await server.start(new Map(this.#ports.map(({ name, targetPort }) => [name, targetPort])), addresses);
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
        controller.notice();
      },
    });
    this.#pods.push(pod);
    controller.notice();
    await pod.start(startup);
  }
}
