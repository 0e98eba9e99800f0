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
  #service: ServiceState | undefined;
  #rule: PortRule = { by: 'none', ports: [] };
  #local = false;
  #lists: readonly (readonly Endpoint[])[] = [];
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

  /** The endpoints as of the last `choose`; the same array as long as they are the same. */
  get endpoints(): readonly Endpoint[] {
    return this.#chosen;
  }

  /** Takes over one slice, or that it is gone; `choose` is to follow. */
  update(name: string, slice: Slice | undefined): void {
    const part = this.#merge.update(name, slice);
    if (part !== undefined) this.#tally(part);
  }

  /** Chooses anew. */
  choose(): void {
    const tallies: Tally[] = [];
    for (const part of this.#merge.parts) tallies.push(this.#tally(part));
    const choice = choose(tallies, this.#local, this.#location.hints);
    const lists = tallies.map((tally) => tally[choice]);
    const before = this.#lists;
    this.#lists = lists;
    // Compared list by list, so that the work is that of the slices that have changed.
    const comparable = lists.length === before.length;
    if (comparable && lists.every((list, i) => sameItems(list, before[i] as readonly Endpoint[]))) return;
    const chosen = ([] as Endpoint[]).concat(...lists);
    // Slices may come or go without an endpoint that is chosen.
    if (comparable || !sameItems(chosen, this.#chosen)) this.#chosen = chosen;
  }

  #tally(part: Part): Tally {
    part.tally ??= new Tally(part.entries, this.#location);
    return part.tally;
  }

  /** Takes over what is known of the Service: whether the slices have to be taken over anew. */
  learn(service: ServiceState): boolean {
    const before = this.#service;
    // One that is deleted may be gone before its slices, which keep the ports they had until they go as well.
    if (service === before || (service.kind === 'absent' && before?.kind === 'present')) return false;
    this.#service = service;
    this.#rule = portRule(this.#target, service);
    if (service.kind === 'present') this.#merge.prefer(service.family);
    this.#local = service.kind === 'present' && service.local && this.#location.node !== undefined;
    return true;
  }
}

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
