import { addressOf, type Endpoint } from '../../core/endpoint.ts';
import type { Target } from '../../core/target.ts';
import { type PortRule, portOf, portRule } from './ports.ts';
import type { ServiceState } from './service.ts';
import type { Slice, SliceEndpoint } from './slice.ts';
import { choose, type Location, Tally } from './topology.ts';

export interface ViewOptions {
  readonly target: Target;
  readonly location: Location;
  readonly family: 4 | 6 | 'both';
}

/** One endpoint of one slice, seen through a port. */
interface Entry {
  source: SliceEndpoint;
  endpoint: Endpoint;
  readonly part: Part;
  /** Another entry stands for the same address, or the same pod. */
  out: boolean;
}

/** A slice seen through a port. */
interface Part {
  readonly name: string;
  slice: Slice;
  port: number | undefined;
  entries: Entry[];
  tally: Tally;
  stale: boolean;
}

/** What a caller of one target gets to see of a Service; work per event is proportional to the slice. */
export class View {
  readonly #options: ViewOptions;
  readonly #parts = new Map<string, Part>();
  readonly #byAddress = new Groups();
  readonly #byPod = new Groups();
  #rule: PortRule = { by: 'none', ports: [] };
  #local = false;
  #preferred: 4 | 6 = 4;
  #chosen: readonly Endpoint[] = [];

  constructor(options: ViewOptions) {
    this.#options = options;
  }

  get rule(): PortRule {
    return this.#rule;
  }

  /** Whether no slice has the asked port, though there are endpoints. */
  get portless(): boolean {
    let any = false;
    for (const { slice, port } of this.#parts.values()) {
      if (port !== undefined) return false;
      any ||= slice.endpoints.length > 0;
    }
    return any;
  }

  /** The endpoints as of the last `update`; the same array as long as they are the same. */
  get endpoints(): readonly Endpoint[] {
    return this.#chosen;
  }

  /** Takes over the slices of these names, or all. */
  update(slices: ReadonlyMap<string, Slice>, names: Iterable<string>, service: ServiceState): void {
    const changed = this.#readService(service) ? new Set([...slices.keys(), ...this.#parts.keys()]) : names;
    for (const name of changed) this.#updatePart(name, slices.get(name));
    const parts = [...this.#parts.values()];
    for (const part of parts) {
      if (!part.stale) continue;
      part.tally = new Tally(part.entries, this.#options.location);
      part.stale = false;
    }
    const chosen = choose(
      parts.map(({ tally }) => tally),
      this.#local,
      this.#options.location.hints,
    );
    if (!sameItems(chosen, this.#chosen)) this.#chosen = chosen;
  }

  /** Whether everything has to be seen anew. */
  #readService(service: ServiceState): boolean {
    const rule = portRule(this.#options.target, service);
    const present = service.kind === 'present';
    const local = present && service.local && this.#options.location.node !== undefined;
    const preferred = present ? service.family : this.#preferred;
    if (
      JSON.stringify(rule) === JSON.stringify(this.#rule) &&
      local === this.#local &&
      preferred === this.#preferred
    )
      return false;
    this.#rule = rule;
    this.#local = local;
    if (preferred !== this.#preferred) {
      this.#preferred = preferred;
      for (const { entries } of this.#parts.values()) for (const entry of entries) this.#judge(entry);
    }
    return true;
  }

  #updatePart(name: string, slice: Slice | undefined): void {
    const { family } = this.#options;
    const wanted =
      slice !== undefined && slice.family !== 'fqdn' && (family === 'both' || slice.family === family);
    let part = this.#parts.get(name);
    if (!wanted) {
      if (part === undefined) return;
      this.#parts.delete(name);
      for (const entry of part.entries) this.#unlink(entry);
      return;
    }
    const port = portOf(this.#rule, slice);
    if (part === undefined) {
      part = { name, slice, port, entries: [], tally: new Tally([], this.#options.location), stale: true };
      this.#parts.set(name, part);
    } else if (part.slice === slice && part.port === port) {
      return;
    }
    const before = part.port === port ? part.entries : [];
    if (part.port !== port) for (const entry of part.entries) this.#unlink(entry);
    part.slice = slice;
    part.port = port;
    part.stale = true;
    part.entries = port === undefined ? [] : this.#readEntries(part, port, before);
  }

  #readEntries(part: Part, port: number, before: readonly Entry[]): Entry[] {
    let places: Map<string, Entry> | undefined;
    const left = new Set(before);
    const entries = part.slice.endpoints.map((source, i) => {
      let known = before[i];
      if (known?.source.address !== source.address) {
        places ??= new Map(before.map((entry) => [entry.source.address, entry]));
        known = places.get(source.address);
      }
      if (known === undefined || !left.delete(known)) {
        const entry: Entry = { source, endpoint: endpointOf(source, port), part, out: false };
        this.#link(entry);
        return entry;
      }
      if (known.source === source) return known;
      if (known.source.uid !== source.uid) {
        this.#unlink(known);
        const entry: Entry = { source, endpoint: endpointOf(source, port), part, out: false };
        this.#link(entry);
        return entry;
      }
      if (!showsTheSame(known.source, source)) known.endpoint = endpointOf(source, port);
      known.source = source;
      this.#weigh(known);
      return known;
    });
    for (const entry of left) this.#unlink(entry);
    return entries;
  }

  #link(entry: Entry): void {
    this.#byAddress.add(addressKey(entry), entry);
    const pod = this.#podKey(entry);
    if (pod !== undefined) this.#byPod.add(pod, entry);
    this.#weigh(entry);
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

  #rivals(entry: Entry): Entry[] {
    const rivals = this.#byAddress.others(addressKey(entry), entry);
    const pod = this.#podKey(entry);
    if (pod === undefined) return rivals;
    const { family } = entry.part.slice;
    return rivals.concat(
      this.#byPod.others(pod, entry).filter((other) => other.part.slice.family !== family),
    );
  }

  #weigh(entry: Entry): void {
    this.#judge(entry);
    for (const rival of this.#rivals(entry)) this.#judge(rival);
  }

  #judge(entry: Entry): void {
    const out = this.#rivals(entry).some((rival) => this.#beats(rival, entry));
    if (out === entry.out) return;
    entry.out = out;
    entry.part.stale = true;
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
    return a.part.slice.endpoints.indexOf(a.source) < b.part.slice.endpoints.indexOf(b.source);
  }
}

/** Entries by key; most keys have one. */
class Groups {
  readonly #groups = new Map<string, Entry | Entry[]>();

  add(key: string, entry: Entry): void {
    const group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, entry);
    else if (Array.isArray(group)) group.push(entry);
    else this.#groups.set(key, [group, entry]);
  }

  delete(key: string, entry: Entry): void {
    const group = this.#groups.get(key);
    if (!Array.isArray(group)) {
      this.#groups.delete(key);
      return;
    }
    const rest = group.filter((other) => other !== entry);
    this.#groups.set(key, rest.length === 1 ? (rest[0] as Entry) : rest);
  }

  others(key: string, entry: Entry): Entry[] {
    const group = this.#groups.get(key);
    return Array.isArray(group) ? group.filter((other) => other !== entry) : [];
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

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
