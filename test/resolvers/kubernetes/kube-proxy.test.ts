import { describe, expect, test } from 'vitest';
import { Merge } from '../../../src/resolvers/kubernetes/merge.ts';
import { portOf } from '../../../src/resolvers/kubernetes/ports.ts';
import {
  readSlice,
  type Slice,
  type SliceEndpoint,
  type SliceObject,
} from '../../../src/resolvers/kubernetes/slice.ts';
import { choose, Tally } from '../../../src/resolvers/kubernetes/topology.ts';
import { cases } from './fixtures.ts';

interface NamedSlice extends SliceObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  };
}

interface MergedEndpoint {
  readonly address: string;
  readonly isLocal: boolean;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
}

interface Step {
  readonly op: 'upsert' | 'delete';
  readonly slice: NamedSlice;
}

interface MergeCase {
  readonly name: string;
  readonly nodeName: string;
  readonly service?: string;
  readonly before?: readonly Step[];
  readonly steps: readonly Step[];
  readonly expect?: Readonly<Record<string, readonly MergedEndpoint[]>>;
  readonly expectBefore?: Readonly<Record<string, readonly MergedEndpoint[]>>;
  readonly expectChanged?: boolean;
}

/** All Services of a case, merged as each of them would be: kube-proxy keeps them in one map. */
class Services {
  readonly #slices = new Map<string, Map<string, Slice>>();
  readonly #merges = new Map<string, { merge: Merge; service: string }>();
  readonly #node: string;

  constructor(node: string) {
    this.#node = node;
  }

  apply(op: 'upsert' | 'delete', object: NamedSlice): boolean {
    const { name, namespace, labels } = object.metadata;
    const service = `${namespace}/${labels['kubernetes.io/service-name']}`;
    const slices = this.#slices.get(service) ?? new Map<string, Slice>();
    this.#slices.set(service, slices);
    const before = slices.get(name);
    const after = op === 'delete' ? undefined : readSlice(object, name, before);
    if (after === undefined) slices.delete(name);
    else slices.set(name, after);
    // A port's protocol tells it apart from others of its name; no case has both, and only TCP is dialled.
    for (const entry of object.ports ?? []) {
      const { name: port, protocol } = entry ?? {};
      const key = `${service}:${port ?? ''}:${protocol ?? 'TCP'}`;
      if (this.#merges.has(key)) continue;
      const merge = new Merge({
        family: 'both',
        portOf: (slice) =>
          portOf(
            { by: 'name', name: port ?? '', number: undefined },
            {
              ...slice,
              ports: slice.ports?.map((entry) => ({ ...entry, protocol: 'TCP' })),
            },
          ),
      });
      for (const [known, slice] of slices) merge.update(known, slice);
      this.#merges.set(key, { merge, service });
    }
    for (const { merge, service: own } of this.#merges.values())
      if (own === service) merge.update(name, after);
    return after !== before;
  }

  get map(): Record<string, MergedEndpoint[]> {
    const map: Record<string, MergedEndpoint[]> = {};
    for (const [key, { merge }] of this.#merges) {
      const merged: MergedEndpoint[] = [];
      for (const { entries } of merge.parts)
        for (const { source, endpoint, out } of entries) {
          if (out) continue;
          const { conditions, node } = source;
          const address = endpoint.address.includes(':')
            ? `[${endpoint.address}]:${endpoint.port}`
            : `${endpoint.address}:${endpoint.port}`;
          merged.push({ address, isLocal: node === this.#node, ...conditions });
        }
      if (merged.length > 0) map[key] = merged.sort((a, b) => (a.address < b.address ? -1 : 1));
    }
    return map;
  }
}

describe.each(['merge', 'updates'])("kube-proxy's table %s", (table) => {
  test.each(cases<MergeCase>(table))(
    '$name',
    ({ nodeName, service, before = [], steps, expect: expected, expectBefore }) => {
      const services = new Services(nodeName);
      for (const { op, slice } of before) services.apply(op, slice);
      if (expectBefore !== undefined) expect(services.map).toEqual(expectBefore);
      const kept = services.map;
      for (const { op, slice } of steps) services.apply(op, slice);
      const map = Object.fromEntries(
        Object.entries(services.map).filter(
          ([key]) => service === undefined || key.startsWith(`${service}:`),
        ),
      );
      expect(map).toEqual(expected ?? kept);
    },
  );
});

interface ChangedCase {
  readonly name: string;
  readonly initial: NamedSlice;
  readonly updated: NamedSlice;
  readonly expectChanged: boolean;
}

test.each(cases<ChangedCase>('changed'))(
  '$name: a slice that says nothing new is no change',
  ({ initial, updated, expectChanged }) => {
    const before = readSlice(initial, 'foo', undefined);
    const after = readSlice(updated, 'foo', before);
    const said = JSON.stringify(content(initial)) !== JSON.stringify(content(updated));
    // kube-proxy also takes another order for a change; order says nothing.
    expect(after !== before).toBe(expectChanged && said);
  },
);

function content({ endpoints, ports }: SliceObject): unknown {
  const sorted = (list: readonly unknown[] | null | undefined): string[] =>
    (list ?? []).map((entry) => JSON.stringify(entry)).sort();
  return [sorted(endpoints), sorted(ports)];
}

interface TopologyCase {
  readonly name: string;
  readonly node: { readonly name: string; readonly labels: Readonly<Record<string, string>> | null };
  readonly service: { readonly usesClusterEndpoints: boolean; readonly usesLocalEndpoints: boolean };
  readonly nodeHintsHonoured: boolean;
  readonly endpoints: readonly {
    readonly address: string;
    readonly ready: boolean;
    readonly serving: boolean;
    readonly terminating: boolean;
    readonly isLocal: boolean;
    readonly zoneHints: readonly string[] | null;
    readonly nodeHints: readonly string[] | null;
  }[];
  readonly expect: { readonly cluster: readonly string[] | null; readonly local: readonly string[] | null };
}

test.each(cases<TopologyCase>('topology'))(
  '$name: the same choice as kube-proxy',
  ({ node, service, nodeHintsHonoured, endpoints, expect: expected }) => {
    const here = node.name || 'here';
    const candidates = endpoints.map(({ address, isLocal, zoneHints, nodeHints, ...conditions }) => {
      const [host = '', port] = address.split(':');
      const source: SliceEndpoint = {
        address: host,
        conditions,
        uid: undefined,
        name: undefined,
        node: isLocal ? here : 'elsewhere',
        zone: undefined,
        zoneHints: zoneHints?.join(),
        // Before 1.35 kube-proxy could be told to pass over node hints.
        nodeHints: nodeHintsHonoured ? nodeHints?.join() : undefined,
      };
      return { source, endpoint: { id: address, address: host, port: Number(port) }, out: false };
    });
    const location = {
      zone: node.labels?.['topology.kubernetes.io/zone'] || undefined,
      node: here,
      hints: true,
    };
    const tallies = [new Tally(candidates, location)];
    const ids = (local: boolean): string[] => {
      const choice = choose(tallies, local, true);
      return tallies.flatMap((tally) => tally[choice].map(({ id }) => id)).sort();
    };
    if (service.usesClusterEndpoints) expect(ids(false)).toEqual([...(expected.cluster ?? [])].sort());
    if (service.usesLocalEndpoints) expect(ids(true)).toEqual([...(expected.local ?? [])].sort());
  },
);
