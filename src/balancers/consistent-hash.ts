import type { Backend, Backends } from '../core/backend.ts';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import { type Random, systemRandom } from '../core/clock.ts';
import { hash32, mix32 } from '../core/hash.ts';
import { checkOptions, func, number } from '../core/options.ts';
import type { Release } from '../core/outcome.ts';
import { type MadeRing, type Ring, ringOf } from './ring.ts';
import { type Member, Roster, type View } from './roster.ts';
import { untriedFrom } from './untried.ts';
import { weightOf } from './weight.ts';

export interface ConsistentHashOptions {
  /**
   * No backend gets more than this many times its fair share of the calls in flight from here; the keys above that
   * go to the next one on the ring. 1 to 10; 1.25 is usual.
   * @default none
   */
  readonly boundedLoad?: number;
  readonly random?: Random;
}

/** Of a longer key only both ends and the length count, so that no key blocks the event loop. */
const longestKey = 4_096;

/**
 * The backend that owns the call's `hashKey`: the same one for as long as it is in the set, and when the set changes
 * only the keys of what changed move. Weights are honoured; where the largest is below 1 or above 16 and passes a power
 * of two, or the sum of all passes some 13,000, a part of the others' keys moves too. A call without a key goes to any
 * backend, at random; one whose owner has been tried goes to the next on the ring. Of a key of more than 4,096
 * characters both ends and the length count.
 *
 * With `boundedLoad`: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016.
 *
 * @throws {TypeError | RangeError} for options that are wrong.
 */
export function consistentHash(options: ConsistentHashOptions = {}): Balancer {
  checkOptions('consistentHash', { boundedLoad: number(1, 10), random: func }, options);
  const { boundedLoad, random = systemRandom } = options;
  return boundedLoad === undefined ? new ConsistentHash(random) : new BoundedHash(random, boundedLoad);
}

function hashOf(hashKey: string): number {
  // From plain JavaScript it may be a number.
  const key = typeof hashKey === 'string' ? hashKey : String(hashKey);
  if (key.length <= longestKey) return hash32(key);
  return hash32(key.slice(0, longestKey / 2) + key.slice(-longestKey / 2), mix32(key.length));
}

function ringOfBackends(backends: Backends, former: MadeRing | undefined): MadeRing {
  return ringOf(
    backends.map((backend) => ({ id: backend.endpoint.id, weight: weightOf(backend) })),
    former,
  );
}

class ConsistentHash implements Balancer {
  readonly #random: Random;
  readonly #rings = new WeakMap<Backends, MadeRing>();
  #backends: Backends | undefined;
  #made: MadeRing | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  pick(backends: Backends, { hashKey, tried }: PickRequest): Backend {
    if (hashKey == null) return untriedFrom(backends, (this.#random() * backends.length) | 0, tried);
    const ring = this.#ringOf(backends);
    let point = ring.find(hashOf(hashKey));
    const owner = backends[ring.owners[point] as number] as Backend;
    if (tried === undefined || !tried.has(owner)) return owner;
    for (let step = ring.owners.length; step > 0; step--) {
      point = point + 1 < ring.owners.length ? point + 1 : 0;
      const next = backends[ring.owners[point] as number] as Backend;
      if (!tried.has(next)) return next;
    }
    return untriedFrom(backends, ring.owners[point] as number, tried);
  }

  #ringOf(backends: Backends): Ring {
    if (backends === this.#backends && this.#made !== undefined) return this.#made.ring;
    let made = this.#rings.get(backends);
    if (made === undefined) this.#rings.set(backends, (made = ringOfBackends(backends, this.#made)));
    this.#backends = backends;
    this.#made = made;
    return made.ring;
  }
}

interface BoundedView extends View {
  readonly ring: Ring;
  readonly members: readonly BoundedMember[];
  /** The part of all calls that is a member's fair share. */
  readonly shares: Float64Array;
  /** Sum of the members' `inflight`. */
  total: number;
  /** The member that is looked at next, in turn. */
  next: number;
}

interface BoundedMember extends Member<BoundedView> {
  /** What the view's total counts for this one. */
  inflight: number;
  readonly release: Release;
}

class BoundedHash implements Balancer {
  readonly #random: Random;
  readonly #bound: number;
  readonly #roster: Roster<BoundedMember, BoundedView>;
  #made: MadeRing | undefined;

  constructor(random: Random, bound: number) {
    this.#random = random;
    this.#bound = bound;
    this.#roster = new Roster(enlist, (backends, members, former) => {
      if (former !== undefined) return arrange(backends, members, former.ring);
      this.#made = ringOfBackends(backends, this.#made);
      return arrange(backends, members, this.#made.ring);
    });
  }

  pick(backends: Backends, { hashKey, tried }: PickRequest): Backend {
    const view = this.#roster.view(backends);
    // A use that was begun elsewhere is seen within as many picks as there are members.
    const checked = view.members[view.next] as BoundedMember;
    view.next = view.next + 1 < view.members.length ? view.next + 1 : 0;
    if (checked.backend.inflight !== checked.inflight) recount(checked);
    if (hashKey == null) return untriedFrom(backends, (this.#random() * backends.length) | 0, tried);
    const { ring, shares } = view;
    const room = this.#bound * (view.total + 1);
    let point = ring.find(hashOf(hashKey));
    let least: Backend | undefined;
    let leastFull = Number.POSITIVE_INFINITY;
    for (let step = ring.owners.length; step > 0; step--) {
      const owner = ring.owners[point] as number;
      const member = view.members[owner] as BoundedMember;
      const { backend } = member;
      const { inflight } = backend;
      if (inflight !== member.inflight) recount(member);
      if (tried === undefined || !tried.has(backend)) {
        const limit = Math.ceil(room * (shares[owner] as number));
        if (inflight < limit) return backend;
        const full = inflight / limit;
        if (full < leastFull) {
          leastFull = full;
          least = backend;
        }
      }
      point = point + 1 < ring.owners.length ? point + 1 : 0;
    }
    return least ?? untriedFrom(backends, ring.owners[point] as number, tried);
  }

  begin(backend: Backend): Release {
    const member = this.#roster.member(backend);
    recount(member);
    return member.release;
  }
}

function recount(member: BoundedMember): void {
  const { inflight } = member.backend;
  if (member.view !== undefined) member.view.total += inflight - member.inflight;
  member.inflight = inflight;
}

function enlist(backend: Backend): BoundedMember {
  const member: BoundedMember = {
    backend,
    view: undefined,
    index: 0,
    inflight: backend.inflight,
    release: () => recount(member),
  };
  return member;
}

function arrange(backends: Backends, members: readonly BoundedMember[], ring: Ring): BoundedView {
  const weights = backends.map(weightOf);
  const sum = weights.reduce((a, b) => a + b, 0);
  let total = 0;
  for (const member of members) total += member.inflight = member.backend.inflight;
  return {
    stale: false,
    ring,
    members,
    shares: Float64Array.from(weights, (weight) => (sum > 0 ? weight / sum : 1 / weights.length)),
    total,
    next: 0,
  };
}
