import { addressOf, type Endpoint } from '../../core/endpoint.ts';
import { Groups } from './groups.ts';
import type { Slice, SliceEndpoint } from './slice.ts';
import type { Tally } from './topology.ts';

/** One endpoint of one slice, seen through a port. */
export interface Entry {
  source: SliceEndpoint;
  endpoint: Endpoint;
  readonly part: Part;
  /** Another entry stands for the same address and port, or the same pod. */
  out: boolean;
}

/** A slice seen through a port. */
export interface Part {
  readonly name: string;
  slice: Slice;
  port: number | undefined;
  entries: Entry[];
  /** What a reader has made of the entries; dropped when they change. */
  tally: Tally | undefined;
}

export interface MergeOptions {
  readonly family: 4 | 6 | 'both';
  /** The number of the wanted port in a slice; undefined where it has none. */
  readonly portOf: (slice: Slice) => number | undefined;
}

/**
 * The union of a Service's slices. Each slice is kept under its name, so that an endpoint that moves from one to
 * another is never lost in between; what two slices say of one address, or of one pod, counts once.
 */
export class Merge {
  readonly #options: MergeOptions;
  readonly #parts = new Map<string, Part>();
  readonly #byAddress = new Groups<Entry>();
  /** Only once there are both families: before, no pod can have two addresses. */
  #byPod: Groups<Entry> | undefined;
  #preferred: 4 | 6 = 4;

  constructor(options: MergeOptions) {
    this.#options = options;
  }

  get parts(): Iterable<Part> {
    return this.#parts.values();
  }

  /** Makes the addresses of this family stand for pods that have both. */
  prefer(family: 4 | 6): void {
    if (family === this.#preferred) return;
    this.#preferred = family;
    for (const { entries } of this.#parts.values()) for (const entry of entries) this.#judge(entry);
  }

  /** Takes over the slice of this name, or that there is none, and returns its part; also to be called when its port may have changed. */
  update(name: string, slice: Slice | undefined): Part | undefined {
    const { family, portOf } = this.#options;
    const wanted =
      slice !== undefined && slice.family !== 'fqdn' && (family === 'both' || slice.family === family);
    let part = this.#parts.get(name);
    if (!wanted) {
      if (part === undefined) return undefined;
      this.#parts.delete(name);
      for (const entry of part.entries) this.#unlink(entry);
      return undefined;
    }
    const port = portOf(slice);
    if (part === undefined) {
      part = { name, slice, port, entries: [], tally: undefined };
      this.#parts.set(name, part);
    } else if (part.slice === slice && part.port === port) {
      return part;
    } else if (part.slice.family !== slice.family || part.port !== port) {
      for (const entry of part.entries) this.#unlink(entry);
      part.entries = [];
    }
    part.slice = slice;
    part.port = port;
    part.tally = undefined;
    this.#byPod ??= this.#indexPods();
    part.entries = port === undefined ? [] : this.#readEntries(part, port);
    return part;
  }

  #indexPods(): Groups<Entry> | undefined {
    const families = new Set<Slice['family']>();
    for (const { slice } of this.#parts.values()) families.add(slice.family);
    if (families.size < 2) return undefined;
    const byPod = new Groups<Entry>();
    for (const { entries } of this.#parts.values())
      for (const entry of entries) if (entry.source.uid !== undefined) byPod.add(entry.source.uid, entry);
    return byPod;
  }

  #readEntries(part: Part, port: number): Entry[] {
    const before = part.entries;
    let places: Map<string, Entry> | undefined;
    const kept = new Set<Entry>();
    const create = (source: SliceEndpoint): Entry => {
      const entry: Entry = { source, endpoint: endpointOf(source, port), part, out: false };
      this.#link(entry);
      return entry;
    };
    const entries = part.slice.endpoints.map((source, i) => {
      let known = before[i];
      if (known?.source.address !== source.address) {
        places ??= new Map(before.map((entry) => [entry.source.address, entry]));
        known = places.get(source.address);
      }
      if (known === undefined || kept.has(known) || known.source.uid !== source.uid) return create(source);
      kept.add(known);
      if (known.source === source) return known;
      if (!showsTheSame(known.source, source)) known.endpoint = endpointOf(source, port);
      known.source = source;
      this.#weigh(known);
      return known;
    });
    if (kept.size < before.length) for (const entry of before) if (!kept.has(entry)) this.#unlink(entry);
    return entries;
  }

  #link(entry: Entry): void {
    const { address, uid } = entry.source;
    const alone = this.#byAddress.add(address, entry);
    const lonePod = uid === undefined || this.#byPod === undefined || this.#byPod.add(uid, entry);
    if (!alone || !lonePod) this.#weigh(entry);
  }

  #unlink(entry: Entry): void {
    const { address, uid } = entry.source;
    const rivals = this.#rivals(entry);
    this.#byAddress.delete(address, entry);
    if (uid !== undefined) this.#byPod?.delete(uid, entry);
    for (const rival of rivals) this.#judge(rival);
  }

  #rivals(entry: Entry): readonly Entry[] {
    const { source, endpoint, part } = entry;
    const twins = this.#byAddress
      .others(source.address, entry)
      .filter((other) => other.endpoint.port === endpoint.port);
    if (source.uid === undefined || this.#byPod === undefined) return twins;
    return twins.concat(
      this.#byPod.others(source.uid, entry).filter((other) => other.part.slice.family !== part.slice.family),
    );
  }

  #weigh(entry: Entry): void {
    entry.part.tally = undefined;
    const rivals = this.#rivals(entry);
    this.#judge(entry, rivals);
    for (const rival of rivals) this.#judge(rival);
  }

  #judge(entry: Entry, rivals: readonly Entry[] = this.#rivals(entry)): void {
    const out = rivals.some((rival) => this.#beats(rival, entry));
    if (out === entry.out) return;
    entry.out = out;
    entry.part.tally = undefined;
  }

  /**
   * Of two entries with one address the non-terminating one counts, as in kube-proxy; of one pod's two addresses
   * that of the Service's first family. The rest only makes the outcome independent of the order of events.
   */
  #beats(a: Entry, b: Entry): boolean {
    const [its, others] = [a.source.conditions, b.source.conditions];
    if (its.terminating !== others.terminating) return others.terminating;
    if (its.ready !== others.ready) return its.ready;
    if (its.serving !== others.serving) return its.serving;
    const family = a.part.slice.family;
    if (family !== b.part.slice.family) return family === this.#preferred;
    if (a.part !== b.part) return a.part.name < b.part.name;
    const [uid, other] = [a.source.uid ?? '', b.source.uid ?? ''];
    if (uid !== other) return uid < other;
    return a.part.slice.endpoints.indexOf(a.source) < b.part.slice.endpoints.indexOf(b.source);
  }
}

/** A pod keeps its uid for life and an address may be given to another one, so both make the identity. */
function endpointOf({ uid, address, zone, node, name }: SliceEndpoint, port: number): Endpoint {
  const at = addressOf(address, port);
  return {
    // One piece: a template would leave a chain of them, each an object of its own.
    id: uid === undefined ? at : [uid, at].join('/'),
    address,
    port,
    ...(zone === undefined ? {} : { zone }),
    ...(node === undefined ? {} : { node }),
    ...(name === undefined ? {} : { name }),
  };
}

function showsTheSame(a: SliceEndpoint, b: SliceEndpoint): boolean {
  return a.zone === b.zone && a.node === b.node && a.name === b.name;
}
