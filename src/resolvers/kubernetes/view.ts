import type { Endpoint } from '../../core/endpoint.ts';
import type { Target } from '../../core/target.ts';
import { Merge, type Part } from './merge.ts';
import { type PortRule, portOf, portRule } from './ports.ts';
import type { ServiceState } from './service.ts';
import type { Slice } from './slice.ts';
import { choose, type Location, Tally } from './topology.ts';

export interface ViewOptions {
  readonly target: Target;
  readonly location: Location;
  readonly family: 4 | 6 | 'both';
}

/** What a caller of one target gets to see of a Service; the work per event is in proportion to the slice. */
export class View {
  readonly #target: Target;
  readonly #location: Location;
  readonly #merge: Merge;
  readonly #tallies = new WeakMap<Part, Tally>();
  #service: ServiceState | undefined;
  #rule: PortRule = { by: 'none', ports: [] };
  #local = false;
  #chosen: readonly Endpoint[] = [];

  constructor({ target, location, family }: ViewOptions) {
    this.#target = target;
    this.#location = location;
    this.#merge = new Merge({ family, portOf: (slice) => portOf(this.#rule, slice) });
  }

  get rule(): PortRule {
    return this.#rule;
  }

  /** Whether no slice has the asked port, though there are endpoints. */
  get portless(): boolean {
    let any = false;
    for (const { slice, port } of this.#merge.parts) {
      if (port !== undefined) return false;
      any ||= slice.endpoints.length > 0;
    }
    return any;
  }

  /** The endpoints as of the last `update`; the same array as long as they are the same. */
  get endpoints(): readonly Endpoint[] {
    return this.#chosen;
  }

  /** Takes over the slices of these names; of all names when the Service has changed. */
  update(slices: ReadonlyMap<string, Slice>, names: Iterable<string>, service: ServiceState): void {
    for (const name of names) this.#merge.update(name, slices.get(name));
    if (service !== this.#service) this.#readService(service, slices);
    const tallies: Tally[] = [];
    for (const part of this.#merge.parts) {
      let tally = this.#tallies.get(part);
      if (tally === undefined || part.stale) {
        tally = new Tally(part.entries, this.#location);
        this.#tallies.set(part, tally);
        part.stale = false;
      }
      tallies.push(tally);
    }
    const chosen = choose(tallies, this.#local, this.#location.hints);
    if (!sameItems(chosen, this.#chosen)) this.#chosen = chosen;
  }

  #readService(service: ServiceState, slices: ReadonlyMap<string, Slice>): void {
    this.#service = service;
    this.#rule = portRule(this.#target, service);
    if (service.kind === 'present') this.#merge.preferred = service.family;
    this.#local = service.kind === 'present' && service.local && this.#location.node !== undefined;
    for (const [name, slice] of slices) this.#merge.update(name, slice);
  }
}

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
