import type { Clock, Random } from '../../core/clock.ts';
import { writeEndpoints } from './endpoints.ts';
import type { KubeObject } from './objects.ts';
import { endpointSlices, endpoints, services } from './resources.ts';
import { SliceWriter } from './slices.ts';
import type { Store } from './store.ts';
import type { Writer } from './writing.ts';

/** A pod as controllers see it, at one moment. */
export interface PodView {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly address: string;
  readonly node: string;
  readonly zone: string;
  /** Container ports by name. */
  readonly ports: ReadonlyMap<string, number>;
  /** Whether its probe passes. */
  readonly serving: boolean;
  readonly terminating: boolean;
}

/** A service's port, with the number it has on some pods. */
export interface SlicePort {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  readonly appProtocol?: string;
}

/** What of a Service its endpoints depend on. */
export interface ServiceView {
  readonly object: KubeObject;
  readonly name: string;
  readonly namespace: string;
  readonly headless: boolean;
  readonly publishNotReady: boolean;
  readonly trafficDistribution: string | undefined;
  /** Its pods by the ports they listen on, which may differ where the Service names a port. */
  readonly groups: readonly { readonly ports: readonly SlicePort[]; readonly pods: readonly PodView[] }[];
}

export interface ControllerSettings {
  readonly store: Store;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly random: Random;
  readonly endpointsPerSlice: number;
  readonly pods: () => readonly PodView[];
}

/**
 * Keeps EndpointSlices and Endpoints in line with Services and pods, as the endpoint controllers of
 * kube-controller-manager do, a settable time after the fact.
 */
export class EndpointsController {
  /** ms from a change of a pod to the change of its slice. */
  propagation: number;
  readonly #settings: ControllerSettings;
  readonly #slices: SliceWriter;
  readonly #stop: () => void;
  readonly #waiting = new Set<() => void>();
  readonly #cancels = new Set<() => void>();
  #noticed = false;
  #round = 0;
  #written = 0;
  #closed = false;

  constructor(settings: ControllerSettings, propagation: number) {
    this.#settings = settings;
    this.propagation = propagation;
    this.#slices = new SliceWriter(settings);
    this.#stop = settings.store.watch(({ resource, type, object }) => {
      if (resource !== services) return;
      if (type === 'DELETED') this.#forget(object);
      else this.notice();
    });
  }

  /** Something has changed. Changes of the same turn are seen together. */
  notice(): void {
    if (this.#noticed || this.#closed) return;
    this.#noticed = true;
    queueMicrotask(() => {
      this.#noticed = false;
      if (this.#closed) return;
      const pods = this.#settings.pods();
      const round = ++this.#round;
      if (this.propagation <= 0) return this.#write(pods, round);
      const cancel = this.#settings.clock.schedule(this.propagation, () => {
        this.#cancels.delete(cancel);
        this.#write(pods, round);
      });
      this.#cancels.add(cancel);
    });
  }

  /** Resolves when everything that has happened so far is in the slices. */
  async settled(): Promise<void> {
    await Promise.resolve();
    if (this.#closed || (this.#written >= this.#round && !this.#noticed)) return;
    await new Promise<void>((resolve) => this.#waiting.add(resolve));
    return this.settled();
  }

  close(): void {
    this.#stop();
    for (const cancel of this.#cancels) cancel();
    this.#closed = true;
    this.#wake();
  }

  #write(pods: readonly PodView[], round: number): void {
    // A later view may have been faster, when the lag was shortened meanwhile.
    if (round > this.#written) {
      this.#written = round;
      for (const object of this.#settings.store.list(services)) {
        const view = serviceView(object, pods);
        if (view === undefined) continue;
        this.#slices.write(view);
        writeEndpoints(this.#settings.store, this.#settings.writer, view);
      }
    }
    this.#wake();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }

  /** What a Service owns goes with it. */
  #forget({ metadata: { namespace, name, uid } }: KubeObject): void {
    const { store } = this.#settings;
    for (const { metadata } of store.list(endpointSlices)) {
      const owners = metadata['ownerReferences'] as readonly { uid?: string }[] | undefined;
      if (owners?.some((owner) => owner.uid === uid))
        store.remove(endpointSlices, metadata.namespace, metadata.name);
    }
    store.remove(endpoints, namespace, name);
  }
}

interface ServiceSpec {
  readonly selector?: Readonly<Record<string, string>>;
  readonly clusterIP?: string;
  readonly publishNotReadyAddresses?: boolean;
  readonly trafficDistribution?: string;
  readonly ports?: readonly {
    readonly name?: string;
    readonly port: number;
    readonly protocol?: string;
    readonly targetPort?: number | string;
    readonly appProtocol?: string;
  }[];
}

/** Undefined for a Service without a selector: its slices are someone else's. */
function serviceView(object: KubeObject, all: readonly PodView[]): ServiceView | undefined {
  const spec = (object['spec'] ?? {}) as ServiceSpec;
  const selector = Object.entries(spec.selector ?? {});
  if (selector.length === 0) return undefined;
  const { name, namespace = 'default' } = object.metadata;
  const pods = all.filter(
    (pod) => pod.namespace === namespace && selector.every(([key, value]) => pod.labels[key] === value),
  );
  const portsOf = (pod: PodView): SlicePort[] =>
    (spec.ports ?? []).flatMap(
      ({ name: portName = '', port, protocol = 'TCP', targetPort = port, appProtocol }) => {
        const number = typeof targetPort === 'number' ? targetPort : pod.ports.get(targetPort);
        if (number === undefined) return [];
        return [
          { name: portName, protocol, port: number, ...(appProtocol === undefined ? {} : { appProtocol }) },
        ];
      },
    );
  const groups = Map.groupBy(pods, (pod) => JSON.stringify(portsOf(pod)));
  return {
    object,
    name,
    namespace,
    headless: spec.clusterIP === 'None',
    publishNotReady: spec.publishNotReadyAddresses === true,
    trafficDistribution: spec.trafficDistribution,
    groups: [...groups].map(([ports, members]) => ({
      ports: JSON.parse(ports) as SlicePort[],
      pods: members,
    })),
  };
}
