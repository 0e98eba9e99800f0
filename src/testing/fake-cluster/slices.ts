import { isIPv6 } from 'node:net';
import type { Random } from '../../core/clock.ts';
import type { ControllerSettings, PodView, ServiceView, SlicePort } from './controller.ts';
import { generatedName, type KubeObject, timestamp } from './objects.ts';
import { endpointSlices } from './resources.ts';

type Family = 'IPv4' | 'IPv6';
type SliceEndpoint = Readonly<Record<string, unknown>>;

/** One slice as it should be: null where nothing is, as the server writes it. */
interface Wanted {
  readonly addressType: Family;
  readonly ports: readonly SlicePort[] | null;
  readonly endpoints: readonly SliceEndpoint[] | null;
}

const managedBy = 'endpointslice-controller.k8s.io';
const trigger = 'endpoints.kubernetes.io/last-change-trigger-time';

/** Writes the slices of Services: as few as hold the endpoints, an endpoint staying in the slice it is in. */
export class SliceWriter {
  readonly #settings: ControllerSettings;
  readonly #random: Random;

  constructor(settings: ControllerSettings) {
    this.#settings = settings;
    this.#random = settings.random;
  }

  write(service: ServiceView): void {
    const { store, writer } = this.#settings;
    const existing = store
      .list(endpointSlices)
      .filter(
        ({ metadata }) =>
          metadata.namespace === service.namespace &&
          metadata.labels?.['kubernetes.io/service-name'] === service.name &&
          metadata.labels['endpointslice.kubernetes.io/managed-by'] === managedBy,
      );
    const unused = new Set(existing);
    for (const [slice, wanted] of this.#plan(service, existing)) {
      if (slice === undefined) {
        writer.create(endpointSlices, service.namespace, this.#manifest(service, wanted));
      } else {
        unused.delete(slice);
        if (holds(slice, wanted)) continue;
        const annotations = { ...slice.metadata.annotations, [trigger]: timestamp() };
        const { resourceVersion: _, ...metadata } = slice.metadata;
        const manifest = { ...slice, metadata: { ...metadata, annotations }, ...wanted };
        writer.update(endpointSlices, service.namespace, slice.metadata.name, manifest);
      }
    }
    for (const { metadata } of unused) store.remove(endpointSlices, metadata.namespace, metadata.name);
  }

  /** Which slice is to hold what; undefined for a new one. */
  #plan(
    service: ServiceView,
    existing: readonly KubeObject[],
  ): (readonly [KubeObject | undefined, Wanted])[] {
    const plan: (readonly [KubeObject | undefined, Wanted])[] = [];
    const free = new Set(existing);
    for (const { ports, pods } of service.groups) {
      for (const [addressType, members] of Map.groupBy(pods, ({ address }) =>
        isIPv6(address) ? 'IPv6' : 'IPv4',
      )) {
        const usable = existing.filter(
          (slice) => slice['addressType'] === addressType && samePorts(slice, ports),
        );
        const packed = pack(usable, members, this.#settings.endpointsPerSlice);
        for (const [slice, some] of packed) {
          if (slice !== undefined) free.delete(slice);
          plan.push([slice, { addressType, ports, endpoints: some.map((pod) => endpointOf(service, pod)) }]);
        }
      }
    }
    // A Service without pods keeps one slice, empty.
    if (plan.length === 0) {
      const [slice] = free;
      plan.push([slice, { addressType: 'IPv4', ports: null, endpoints: null }]);
    }
    return plan;
  }

  #manifest(service: ServiceView, wanted: Wanted): Record<string, unknown> {
    const { name, object, headless } = service;
    return {
      metadata: {
        name: generatedName(this.#random, `${name}-`),
        generateName: `${name}-`,
        labels: {
          'endpointslice.kubernetes.io/managed-by': managedBy,
          'kubernetes.io/service-name': name,
          ...(headless ? { 'service.kubernetes.io/headless': '' } : {}),
        },
        annotations: { [trigger]: timestamp() },
        ownerReferences: [
          {
            apiVersion: 'v1',
            kind: 'Service',
            name,
            uid: object.metadata.uid,
            controller: true,
            blockOwnerDeletion: true,
          },
        ],
        managedFields: [managedFields(object.metadata.uid ?? '')],
      },
      ...wanted,
    };
  }
}

/** Spreads pods over slices: each where it is, the others where there is room, the rest in new ones. */
function pack(
  slices: readonly KubeObject[],
  pods: readonly PodView[],
  size: number,
): (readonly [KubeObject | undefined, PodView[]])[] {
  const home = new Map<unknown, KubeObject>();
  for (const slice of slices) {
    for (const { targetRef } of (slice['endpoints'] as readonly { targetRef?: { uid?: string } }[] | null) ??
      [])
      home.set(targetRef?.uid, slice);
  }
  const kept = new Map<KubeObject, PodView[]>(slices.map((slice) => [slice, []]));
  const homeless = pods.filter((pod) => {
    const slice = home.get(pod.uid);
    if (slice !== undefined) kept.get(slice)?.push(pod);
    return slice === undefined;
  });
  const packed: (readonly [KubeObject | undefined, PodView[]])[] = [...kept].filter(
    ([, some]) => some.length > 0,
  );
  for (const [, some] of packed) some.push(...homeless.splice(0, size - some.length));
  const empty = [...kept].filter(([, some]) => some.length === 0).map(([slice]) => slice);
  while (homeless.length > 0) packed.push([empty.shift(), homeless.splice(0, size)]);
  return packed;
}

function endpointOf(service: ServiceView, pod: PodView): SliceEndpoint {
  const { serving, terminating, zone, node } = pod;
  const ready = service.publishNotReady || (serving && !terminating);
  const byNode = service.trafficDistribution === 'PreferSameNode';
  const byZone = byNode || ['PreferSameZone', 'PreferClose'].includes(service.trafficDistribution ?? '');
  const hints = { forZones: [{ name: zone }], ...(byNode ? { forNodes: [{ name: node }] } : {}) };
  return {
    addresses: [pod.address],
    conditions: { ready, serving, terminating },
    ...(service.headless ? { hostname: pod.name } : {}),
    targetRef: { kind: 'Pod', namespace: pod.namespace, name: pod.name, uid: pod.uid },
    nodeName: node,
    zone,
    // Only ready endpoints get hints.
    ...(byZone && ready ? { hints } : {}),
  };
}

const samePorts = (slice: KubeObject, ports: readonly SlicePort[]): boolean =>
  slice['ports'] === null || JSON.stringify(slice['ports']) === JSON.stringify(ports);

function holds(slice: KubeObject, { ports, endpoints }: Wanted): boolean {
  return JSON.stringify([slice['ports'], slice['endpoints']]) === JSON.stringify([ports, endpoints]);
}

/** What server-side bookkeeping adds to each slice: it is a good part of the bytes of a small one. */
function managedFields(owner: string): Record<string, unknown> {
  return {
    manager: 'kube-controller-manager',
    operation: 'Update',
    apiVersion: 'discovery.k8s.io/v1',
    time: timestamp(),
    fieldsType: 'FieldsV1',
    fieldsV1: {
      'f:addressType': {},
      'f:endpoints': {},
      'f:metadata': {
        'f:annotations': { '.': {}, [`f:${trigger}`]: {} },
        'f:generateName': {},
        'f:labels': {
          '.': {},
          'f:endpointslice.kubernetes.io/managed-by': {},
          'f:kubernetes.io/service-name': {},
        },
        'f:ownerReferences': { '.': {}, [`k:${JSON.stringify({ uid: owner })}`]: {} },
      },
      'f:ports': {},
    },
  };
}
