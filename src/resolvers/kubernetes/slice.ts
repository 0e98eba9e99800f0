import { isIP } from 'node:net';
import { shared } from './shared-names.ts';

/** A port of a slice. Without a number the slice stands for all ports. */
export interface SlicePort {
  readonly name: string;
  readonly protocol: string;
  readonly port: number | undefined;
}

/** Absent ones filled in. Equal conditions are the same object. */
export interface Conditions {
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
}

/** One endpoint of a slice. */
export interface SliceEndpoint {
  readonly address: string;
  readonly conditions: Conditions;
  readonly uid: string | undefined;
  readonly name: string | undefined;
  readonly node: string | undefined;
  readonly zone: string | undefined;
  /** Zones, and nodes, this endpoint is meant for, with commas between; undefined where the control plane gives no hint. */
  readonly zoneHints: string | undefined;
  readonly nodeHints: string | undefined;
}

/** What is kept of an EndpointSlice. Slices and their parts are replaced, never changed. */
export interface Slice {
  readonly name: string;
  readonly family: 4 | 6 | 'fqdn';
  /** undefined: the slice names no ports. */
  readonly ports: readonly SlicePort[] | undefined;
  readonly endpoints: readonly SliceEndpoint[];
}

/** The parts of a discovery.k8s.io/v1 EndpointSlice that matter here; nothing is guaranteed to be there. */
export interface SliceObject {
  readonly metadata?: { readonly name?: string } | null;
  readonly addressType?: string | null;
  readonly endpoints?: readonly (EndpointObject | null)[] | null;
  readonly ports?: readonly (PortObject | null)[] | null;
}

export interface EndpointObject {
  readonly addresses?: readonly string[] | null;
  readonly conditions?: {
    readonly ready?: boolean | null;
    readonly serving?: boolean | null;
    readonly terminating?: boolean | null;
  } | null;
  readonly targetRef?: { readonly uid?: string | null; readonly name?: string | null } | null;
  readonly nodeName?: string | null;
  readonly zone?: string | null;
  readonly hints?: {
    readonly forZones?: readonly { readonly name?: string }[] | null;
    readonly forNodes?: readonly { readonly name?: string }[] | null;
  } | null;
}

export interface PortObject {
  readonly name?: string | null;
  readonly protocol?: string | null;
  readonly port?: number | null;
}

/**
 * Reads a slice. What it shares with `before`, the slice of that name as last seen, is taken from there: equal
 * endpoints stay the same objects in the same order, and a slice that says nothing new is `before` itself.
 * An absent condition means ready, serving, not terminating. Only the first address counts.
 */
export function readSlice(object: SliceObject, name: string, before: Slice | undefined): Slice {
  const family = object.addressType === 'FQDN' ? 'fqdn' : object.addressType === 'IPv6' ? 6 : 4;
  const ports = samePorts(readPorts(object.ports), before?.ports);
  const known = before?.family === family ? before.endpoints : [];
  const endpoints = readEndpoints(object.endpoints ?? [], family, known);
  if (
    before !== undefined &&
    before.family === family &&
    before.ports === ports &&
    before.endpoints === endpoints
  )
    return before;
  return { name, family, ports, endpoints };
}

function readPorts(objects: readonly (PortObject | null)[] | null | undefined): SlicePort[] | undefined {
  if (!Array.isArray(objects) || objects.length === 0) return undefined;
  const ports: SlicePort[] = [];
  for (const object of objects as readonly (PortObject | null)[]) {
    if (object === null) continue;
    ports.push({
      name: object.name ?? '',
      protocol: object.protocol ?? 'TCP',
      port: typeof object.port === 'number' && object.port > 0 ? object.port : undefined,
    });
  }
  // Their order means nothing and differs from the Service's.
  return ports.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : (a.port ?? 0) - (b.port ?? 0)));
}

function samePorts(
  ports: readonly SlicePort[] | undefined,
  before: readonly SlicePort[] | undefined,
): readonly SlicePort[] | undefined {
  if (ports === undefined || before === undefined || ports.length !== before.length) return ports;
  return ports.every((port, i) => {
    const other = before[i] as SlicePort;
    return port.name === other.name && port.protocol === other.protocol && port.port === other.port;
  })
    ? before
    : ports;
}

function readEndpoints(
  objects: readonly (EndpointObject | null)[],
  family: Slice['family'],
  before: readonly SliceEndpoint[],
): readonly SliceEndpoint[] {
  // Known endpoints keep their places, so that a reshuffled slice is no change.
  const slots: (SliceEndpoint | undefined)[] = new Array(before.length);
  const added: SliceEndpoint[] = [];
  let places: Map<string, number> | undefined;
  let kept = 0;
  let changed = false;
  for (let i = 0; i < objects.length; i++) {
    const object = objects[i];
    const address = object?.addresses?.[0];
    if (object === null || object === undefined || address === undefined) continue;
    let place: number | undefined = i;
    if (before[i]?.address !== address) {
      if (!isUsable(address, family)) continue;
      if (before.length > 0) places ??= new Map(before.map((endpoint, index) => [endpoint.address, index]));
      place = places?.get(address);
    }
    if (place === undefined || slots[place] !== undefined) {
      added.push(readEndpoint(object, address));
      continue;
    }
    const known = before[place] as SliceEndpoint;
    const same = saysTheSame(object, known);
    slots[place] = same ? known : readEndpoint(object, address);
    kept++;
    changed ||= !same;
  }
  if (!changed && added.length === 0 && kept === before.length) return before;
  return slots.filter((slot) => slot !== undefined).concat(added);
}

function isUsable(address: string, family: Slice['family']): boolean {
  return typeof address === 'string' && (family === 'fqdn' || isIP(address) === family);
}

function readEndpoint(object: EndpointObject, address: string): SliceEndpoint {
  const { targetRef, hints } = object;
  return {
    address,
    conditions: readConditions(object.conditions),
    uid: targetRef?.uid || undefined,
    name: targetRef?.name || undefined,
    node: shared(object.nodeName || undefined),
    zone: shared(object.zone || undefined),
    zoneHints: shared(joined(hints?.forZones)),
    nodeHints: shared(joined(hints?.forNodes)),
  };
}

const conditionSets: readonly Conditions[] = Array.from({ length: 8 }, (_, bits) => ({
  ready: (bits & 1) > 0,
  serving: (bits & 2) > 0,
  terminating: (bits & 4) > 0,
}));

function readConditions(object: EndpointObject['conditions']): Conditions {
  const ready = (object?.ready ?? true) ? 1 : 0;
  const serving = (object?.serving ?? true) ? 2 : 0;
  const terminating = (object?.terminating ?? false) ? 4 : 0;
  return conditionSets[ready | serving | terminating] as Conditions;
}

function joined(hints: readonly { readonly name?: string }[] | null | undefined): string | undefined {
  if (!Array.isArray(hints) || hints.length === 0) return undefined;
  return hints.length === 1 ? (hints[0].name ?? '') : hints.map((hint) => hint.name ?? '').join();
}

/** As comparing with `readEndpoint(object)`, without making it. */
function saysTheSame(object: EndpointObject, known: SliceEndpoint): boolean {
  const { targetRef, hints } = object;
  return (
    readConditions(object.conditions) === known.conditions &&
    (targetRef?.uid || undefined) === known.uid &&
    (targetRef?.name || undefined) === known.name &&
    (object.nodeName || undefined) === known.node &&
    (object.zone || undefined) === known.zone &&
    joined(hints?.forZones) === known.zoneHints &&
    joined(hints?.forNodes) === known.nodeHints
  );
}
