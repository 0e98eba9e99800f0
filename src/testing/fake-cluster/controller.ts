import type { Cancel, Clock, Random } from '../../core/clock.ts';
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
  /** Pods as they were a propagation time ago, by uid. */
  readonly #pods = new Map<string, PodView>();
  /** The number of the last change of a pod that has been taken in, by uid. */
  readonly #taken = new Map<string, number>();
  /** Changes not taken in yet, with whose they are. */
  readonly #underWay = new Map<Cancel, object>();
  #waiting: (() => void)[] = [];
  #changes = 0;
  #due = false;
  #closed = false;

  constructor(settings: ControllerSettings, propagation: number) {
    this.#settings = settings;
    this.propagation = propagation;
    this.#slices = new SliceWriter(settings);
    this.#stop = settings.store.watch(({ resource, type, object }) => {
      if (resource !== services) return;
      if (type === 'DELETED') this.#forget(object);
      else this.#writeSoon();
    });
  }

  /** A pod of `owner` has changed, or is gone when there is no view of it: taken in after `lag` ms. */
  changed(owner: object, id: string, view: PodView | undefined, lag: number = this.propagation): void {
    if (this.#closed) return;
    const change = ++this.#changes;
    const take = (): void => {
      // When the lag has been shortened meanwhile, a later change has come first.
      if ((this.#taken.get(id) ?? 0) > change) return;
      this.#taken.set(id, change);
      if (view === undefined) this.#pods.delete(id);
      else this.#pods.set(id, view);
      this.#writeSoon();
    };
    if (lag <= 0) {
      take();
      return;
    }
    const cancel = this.#settings.clock.schedule(lag, () => {
      this.#underWay.delete(cancel);
      take();
    });
    this.#underWay.set(cancel, owner);
  }

  /** Resolves when everything that has happened to the pods of `owner` so far is in the slices. */
  async settled(owner: object): Promise<void> {
    while (!this.#closed && (this.#due || [...this.#underWay.values()].includes(owner)))
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  close(): void {
    this.#closed = true;
    this.#stop();
    for (const cancel of this.#underWay.keys()) cancel();
    this.#wake();
  }

  /** Changes of the same turn are written together. */
  #writeSoon(): void {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      if (!this.#closed) this.#write();
      this.#wake();
    });
  }

  #write(): void {
    const { store, writer } = this.#settings;
    const pods = [...this.#pods.values()];
    for (const object of store.list(services)) {
      const view = serviceView(object, pods);
      if (view === undefined) continue;
      this.#slices.write(view);
      writeEndpoints(store, writer, view);
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
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
