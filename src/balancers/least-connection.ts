import type { Backend, Backends } from '../core/backend.ts';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import { type Random, systemRandom } from '../core/clock.ts';
import { checkOptions, func } from '../core/options.ts';
import type { Release } from '../core/outcome.ts';
import { Levels, topLevel } from './levels.ts';
import { type Member, Roster, type View } from './roster.ts';

export interface LeastConnectionOptions {
  readonly random?: Random;
}

/**
 * The backend with the fewest calls in flight from here, a random one among equals; weights are not looked at.
 * Exact and O(1): backends are kept in lists by their number of calls.
 */
export function leastConnection(options: LeastConnectionOptions = {}): Balancer {
  checkOptions('leastConnection', { random: func }, options);
  return new LeastConnection(options.random ?? systemRandom);
}

/** Up to this many backends, looking at each is as fast as keeping lists. */
const few = 8;

interface CountedView extends View {
  readonly members: readonly CountedMember[];
  readonly levels: Levels;
  /** The member that is looked at next, in turn. */
  next: number;
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
    const view = this.#roster.view(backends);
    const { members, levels } = view;
    // A use that was begun or ended elsewhere is seen within as many picks as there are members.
    recount(members[view.next] as CountedMember);
    view.next = view.next + 1 < members.length ? view.next + 1 : 0;
    if (tried !== undefined && tried.size > 0) {
      const found = levels.find(this.#random, (item) => !tried.has(backends[item] as Backend));
      return backends[found === -1 ? (this.#random() * backends.length) | 0 : found] as Backend;
    }
    for (;;) {
      const level = levels.lowest();
      if (level === topLevel) return fewest(backends, tried, this.#random);
      const member = members[levels.draw(level, this.#random)] as CountedMember;
      if (levelOf(member) === level) return member.backend;
      recount(member);
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
  let best: Backend | undefined;
  let least = Number.POSITIVE_INFINITY;
  let equals = 0;
  for (let i = 0; i < backends.length; i++) {
    const backend = backends[i] as Backend;
    const { inflight } = backend;
    if (inflight > least || tried?.has(backend)) continue;
    equals = inflight === least ? equals + 1 : 1;
    least = inflight;
    if (equals === 1 || random() * equals < 1) best = backend;
  }
  return best ?? (backends[(random() * backends.length) | 0] as Backend);
}

function levelOf({ backend }: CountedMember): number {
  const { inflight } = backend;
  return inflight > 0 ? Math.min(inflight, topLevel) : 0;
}

function recount(member: CountedMember): void {
  member.view?.levels.move(member.index, levelOf(member));
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

function arrange(backends: Backends, members: readonly CountedMember[]): CountedView {
  const levels = new Levels(backends.length);
  members.forEach((member, i) => {
    levels.move(i, levelOf(member));
  });
  return { stale: false, members, levels, next: 0 };
}
