import type { Backend, Backends } from '../core/backend.ts';

/** What a balancer keeps about one backend for as long as the backend lives. */
export interface Member<V> {
  readonly backend: Backend;
  /** The view that indexes this member now, and where in it. */
  view: V | undefined;
  index: number;
}

/** What a balancer keeps about one set of backends. */
export interface View {
  /** Set when another view has taken over one of the members: what is indexed here is no longer kept up to date. */
  stale: boolean;
}

/**
 * Finds the view of a set by the identity of its array, and the member of a backend, each in constant time.
 * A member is indexed by one view at a time, the one picked from last: disjoint sets may take turns for free,
 * overlapping ones are filled in anew at each turn.
 */
export class Roster<M extends Member<V>, V extends View> {
  readonly #enlist: (backend: Backend) => M;
  readonly #arrange: (backends: Backends, members: readonly M[], former: V | undefined) => V;
  readonly #views = new WeakMap<Backends, V>();
  readonly #members = new WeakMap<Backend, M>();
  #backends: Backends | undefined;
  #view: V | undefined;
  /** The member asked for last, or expected to be asked for next. */
  #likely: M | undefined;

  /** `arrange` makes the view of a set, from the one it had before if it had one. */
  constructor(
    enlist: (backend: Backend) => M,
    arrange: (backends: Backends, members: readonly M[], former: V | undefined) => V,
  ) {
    this.#enlist = enlist;
    this.#arrange = arrange;
  }

  view(backends: Backends): V {
    const view = this.#view;
    return view !== undefined && backends === this.#backends ? view : this.#enter(backends);
  }

  /** Saves the next `member` its lookup, if it is for this one. */
  expect(member: M): void {
    this.#likely = member;
  }

  member(backend: Backend): M {
    const likely = this.#likely;
    if (likely !== undefined && likely.backend === backend) return likely;
    let member = this.#members.get(backend);
    if (member === undefined) this.#members.set(backend, (member = this.#enlist(backend)));
    return member;
  }

  #enter(backends: Backends): V {
    let view = this.#views.get(backends);
    if (view === undefined || view.stale) {
      const members = backends.map((backend) => this.member(backend));
      view = this.#arrange(backends, members, view);
      members.forEach((member, index) => {
        if (member.view !== undefined) member.view.stale = true;
        member.view = view;
        member.index = index;
      });
      // A backend told twice in one set must not make that set stale.
      view.stale = false;
      this.#views.set(backends, view);
    }
    this.#backends = backends;
    this.#view = view;
    return view;
  }
}
