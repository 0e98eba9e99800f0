import {
  arrayOf,
  boolean,
  type Check,
  func,
  integer,
  number,
  type Shape,
  shape,
  string,
} from '../../core/options.ts';
import { type Addresses, freePort } from './addresses.ts';
import type { PodHandler } from './pod.ts';

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

const positivePort = integer(1, 65_535);
const anyText: Check = (value, name) => {
  if (value !== '') string(value, name);
};
const latencyCheck: Check = (value, name) => {
  if (typeof value !== 'function') number(0)(value, name);
};

export const serviceShape: Shape = {
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
export interface OpenPort extends ServicePort {
  readonly targetPort: number;
  /** The name of the port on the pods, where the Service's may have none. */
  readonly containerName: string;
}

/** The ports that options ask for, with numbers for those that leave theirs open. */
export async function openPorts(options: FakeServiceOptions, addresses: Addresses): Promise<OpenPort[]> {
  const { port = defaultPort, targetPort, portName = 'http' } = options;
  const single = { name: portName, port, ...(targetPort === undefined ? {} : { targetPort }) };
  const ports: OpenPort[] = [];
  for (const given of options.ports ?? [single]) {
    const open = given.targetPort ?? (await freePort(addresses.next()));
    ports.push({ ...given, targetPort: open, containerName: given.name === '' ? 'unnamed' : given.name });
  }
  return ports;
}

/** What these options say of a Service, in its own words. */
export function serviceSpec(
  name: string,
  options: FakeServiceOptions,
  ports: readonly OpenPort[],
  distinct: boolean,
): Record<string, unknown> {
  const { headless, publishNotReadyAddresses, trafficDistribution } = options;
  return {
    ...(headless === true ? { clusterIP: 'None' } : {}),
    ...(publishNotReadyAddresses === true ? { publishNotReadyAddresses } : {}),
    ...(trafficDistribution === undefined ? {} : { trafficDistribution }),
    selector: { app: name },
    ports: ports.map(({ name: portName, port, targetPort, containerName, appProtocol }) => ({
      ...(portName === '' ? {} : { name: portName }),
      protocol: 'TCP',
      port,
      // Pods that share one address listen on ports of their own, which only a name can stand for.
      targetPort: distinct ? targetPort : containerName,
      ...(appProtocol === undefined ? {} : { appProtocol }),
    })),
  };
}
