import { addressOf, type Endpoint } from '../../core/endpoint.ts';
import { Groups } from './groups.ts';
import type { Slice, SliceEndpoint } from './slice.ts';
import type { Tally } from './topology.ts';

/** One endpoint of one slice, seen through a port. */
export interface Entry {
  source: SliceEndpoint;
  endpoint: Endpoint;
  readonly part: Part;
  /** Another entry stands for the same address, or the same pod. */
  out: boolean;
  /** When its slice was last read with it. */
  round: number;
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
  readonly #byPod = new Groups<Entry>();
  #preferred: 4 | 6 = 4;
  #round = 0;

  constructor(options: MergeOptions) {
    this.#options = options;
  }

  get parts(): Iterable<Part> {
    return this.#parts.values();
  }

  /** The family whose address stands for a pod that has both. */
  get preferred(): 4 | 6 {
    return this.#preferred;
  }

  set preferred(family: 4 | 6) {
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
    }
    const comparable = part.port === port && part.slice.family === slice.family;
    const before = comparable ? part.entries : [];
    if (!comparable) for (const entry of part.entries) this.#unlink(entry);
    part.slice = slice;
    part.port = port;
    part.tally = undefined;
    part.entries = port === undefined ? [] : this.#readEntries(part, port, before);
    return part;
  }

  #readEntries(part: Part, port: number, before: readonly Entry[]): Entry[] {
    let places: Map<string, Entry> | undefined;
    let kept = 0;
    const round = ++this.#round;
    const create = (source: SliceEndpoint): Entry => {
      const entry: Entry = { source, endpoint: endpointOf(source, port), part, out: false, round };
      this.#link(entry);
      return entry;
    };
    const entries = part.slice.endpoints.map((source, i) => {
      let known = before[i];
      if (known?.source.address !== source.address) {
        places ??= new Map(before.map((entry) => [entry.source.address, entry]));
        known = places.get(source.address);
      }
      if (known === undefined || known.round === round || known.source.uid !== source.uid)
        return create(source);
      known.round = round;
      kept++;
      if (known.source === source) return known;
      if (!showsTheSame(known.source, source)) known.endpoint = endpointOf(source, port);
      known.source = source;
      this.#weigh(known);
      return known;
    });
    if (kept < before.length) for (const entry of before) if (entry.round !== round) this.#unlink(entry);
    return entries;
  }

  #link(entry: Entry): void {
    const pod = this.#podKey(entry);
    const alone = this.#byAddress.add(addressKey(entry), entry);
    const lonePod = pod === undefined || this.#byPod.add(pod, entry);
    if (!alone || !lonePod) this.#weigh(entry);
  }

  #unlink(entry: Entry): void {
    const pod = this.#podKey(entry);
    const rivals = this.#rivals(entry);
    this.#byAddress.delete(addressKey(entry), entry);
    if (pod !== undefined) this.#byPod.delete(pod, entry);
    for (const rival of rivals) this.#judge(rival);
  }

  /** Two addresses of one pod can only meet where both families are wanted. */
  #podKey(entry: Entry): string | undefined {
    return this.#options.family === 'both' ? entry.source.uid : undefined;
  }

  #rivals(entry: Entry): readonly Entry[] {
    const rivals = this.#byAddress.others(addressKey(entry), entry);
    const pod = this.#podKey(entry);
    if (pod === undefined) return rivals;
    const { family } = entry.part.slice;
    return rivals.concat(
      this.#byPod.others(pod, entry).filter((other) => other.part.slice.family !== family),
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
    if (a.source.terminating !== b.source.terminating) return b.source.terminating;
    if (a.source.ready !== b.source.ready) return a.source.ready;
    if (a.source.serving !== b.source.serving) return a.source.serving;
    const family = a.part.slice.family;
    if (family !== b.part.slice.family) return family === this.#preferred;
    if (a.part !== b.part) return a.part.name < b.part.name;
    const [uid, other] = [a.source.uid ?? '', b.source.uid ?? ''];
    if (uid !== other) return uid < other;
    return a.part.slice.endpoints.indexOf(a.source) < b.part.slice.endpoints.indexOf(b.source);
  }
}

function addressKey({ endpoint }: Entry): string {
  return endpoint.id.slice(endpoint.id.indexOf('/') + 1);
}

/** A pod keeps its uid for life and an address may be given to another one, so both make the identity. */
function endpointOf({ uid, address, zone, node, name }: SliceEndpoint, port: number): Endpoint {
  const at = addressOf(address, port);
  return {
    id: uid === undefined ? at : `${uid}/${at}`,
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
