import type { Backend, Backends } from '../core/backend.ts';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import { type Random, systemRandom } from '../core/clock.ts';
import { checkOptions, func } from '../core/options.ts';
import type { Release } from '../core/outcome.ts';
import { Counts } from './counts.ts';
import { type Member, Roster, type View } from './roster.ts';
import { untried } from './untried.ts';

export interface LeastConnectionOptions {
  readonly random?: Random;
}

/**
 * The backend with the fewest calls in flight from here, a random one among equals; weights are not looked at.
 * Exact and O(1): backends are kept in order of their number of calls.
 */
export function leastConnection(options: LeastConnectionOptions = {}): Balancer {
  checkOptions('leastConnection', { random: func }, options);
  return new LeastConnection(options.random ?? systemRandom);
}

/** A pick in so many looks at one more backend than it needs. */
const checkEvery = 8;
/** More calls than this count as this many. */
const mostCalls = 2 ** 20;
/** Up to this many backends, looking at each is as fast as keeping them in order. */
const few = 8;

interface CountedView extends View {
  readonly members: readonly CountedMember[];
  readonly counts: Counts;
  /** The member that is looked at next, in turn, and the picks until then. */
  next: number;
  skip: number;
}

interface CountedMember extends Member<CountedView> {
  readonly release: Release;
}

class LeastConnection implements Balancer {
  readonly #random: Random;
  readonly #roster = new Roster<CountedMember, CountedView>(enlist, arrange);
  #told = false;

  constructor(random: Random) {
    this.#random = random;
  }

  pick(backends: Backends, { tried }: PickRequest): Backend {
    if (backends.length <= few || !this.#told) return fewest(backends, tried, this.#random);
    return this.#first(backends, tried);
  }

  /** Apart from `pick`, so that what is called here is compiled for many backends, however often there were few. */
  #first(backends: Backends, tried: ReadonlySet<Backend> | undefined): Backend {
    const view = this.#roster.view(backends);
    const { members, counts } = view;
    // A use that was begun or ended elsewhere is seen before long.
    if (--view.skip < 0) {
      view.skip = checkEvery - 1;
      recount(members[view.next] as CountedMember);
      view.next = view.next + 1 < members.length ? view.next + 1 : 0;
    }
    if (tried !== undefined && tried.size > 0) {
      const found = counts.find(this.#random, untried(backends, tried));
      return backends[found === -1 ? (this.#random() * backends.length) | 0 : found] as Backend;
    }
    for (;;) {
      const item = counts.least(this.#random);
      const backend = backends[item] as Backend;
      if (
        backend.inflight === counts.get(item) ||
        backend.inflight !== (backend.inflight & (mostCalls - 1))
      ) {
        this.#roster.expect(members[item] as CountedMember);
        return backend;
      }
      count(counts, item, backend);
    }
  }

  begin(backend: Backend): Release {
    this.#told = true;
    const member = this.#roster.member(backend);
    recount(member);
    return member.release;
  }
}

/** The backend with the fewest calls, by looking at each; any one when all have been tried. */
export function fewest(backends: Backends, tried: ReadonlySet<Backend> | undefined, random: Random): Backend {
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  let equals = 0;
  for (let i = 0; i < backends.length; i++) {
    const backend = backends[i] as Backend;
    const { inflight } = backend;
    if (inflight > least || tried?.has(backend)) continue;
    equals = inflight === least ? equals + 1 : 1;
    if (equals === 1) best = i;
    least = inflight;
  }
  if (best === -1) return backends[(random() * backends.length) | 0] as Backend;
  // One random number decides among equals, however many there are.
  for (let skip = equals === 1 ? 0 : (random() * equals) | 0, i = best; i < backends.length; i++) {
    const backend = backends[i] as Backend;
    if (backend.inflight === least && !tried?.has(backend) && skip-- === 0) return backend;
  }
  return backends[best] as Backend;
}

function recount({ view, index, backend }: CountedMember): void {
  if (view !== undefined) count(view.counts, index, backend);
}

function count(counts: Counts, item: number, { inflight }: Backend): void {
  if (inflight === (inflight & (mostCalls - 1))) counts.set(item, inflight);
  else counts.set(item, inflight > 0 ? Math.min(Math.floor(inflight), mostCalls) : 0);
}

function enlist(backend: Backend): CountedMember {
  const member: CountedMember = {
    backend,
    view: undefined,
    index: 0,
    release: () => recount(member),
  };
  return member;
}

function arrange(
  backends: Backends,
  members: readonly CountedMember[],
  former: CountedView | undefined,
): CountedView {
  const counts = former?.counts ?? new Counts(backends.length);
  backends.forEach((backend, i) => {
    count(counts, i, backend);
  });
  return { stale: false, members, counts, next: former?.next ?? 0, skip: 0 };
}
