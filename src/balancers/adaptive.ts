import type { Backend, Backends } from '../core/backend.ts';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import { type Clock, type Random, systemClock, systemRandom } from '../core/clock.ts';
import { checkOptions, func, implementing } from '../core/options.ts';
import type { Outcome, Release } from '../core/outcome.ts';
import { Fleet } from './adaptive/fleet.ts';
import { AdaptiveMember } from './adaptive/member.ts';
import { Pulse } from './adaptive/pulse.ts';
import { Use } from './adaptive/use.ts';
import { fewest } from './least-connection.ts';
import { type Ranking, ranking } from './ranking.ts';
import { Roster, type View } from './roster.ts';
import { Schedule, spreadPhases } from './schedule.ts';
import { weightOf } from './weight.ts';

export interface AdaptiveOptions {
  readonly random?: Random;
  readonly clock?: Clock;
}

/** A broken backend gets one trial per so many calls, so that trials fail no more than about 0.1 % of all … */
const callsPerTrial = 800;
/** … and no sooner, nor later, than after so many ms. */
const soonestTrial = 1_000;
const latestTrial = 15_000;
/** A turn is as many calls as there are backends. One that got none for two turns, and 100 more per 1 of excess in `r`, gets the next. */
const fewTurns = 2;
const turnsPerExcess = 100;
/** A pick in so many looks at one more backend than it needs. */
const checkEvery = 16;
/** By how much at most a backend that joins others counts as slower, until it is known. */
const strangeness = 0.6;
/** ms over which the rate of calls is averaged. */
const rateMemory = 2_000;

/**
 * Latency-corrected least connection: the backend that would be done first, as far as this client can tell.
 *
 *     cost = (inflight + 1 + 0.3 × a) × (1 + t × (r − 1)),  the least of all wins, a random one among equals
 *
 * - `r` is a backend's relative unit latency: its ms per call in flight (counted when the call begins, itself
 *   included, so that load is not counted twice) over the same of all backends. Samples are bounded to 0.1 … twice
 *   what is known (Huber's remedy against heavy tails) and blended with weight 1 − e^(−Δt / 4 s), 0.03 … 0.15, or up
 *   to 0.5 where a backend that was slow is not any more. While a backend is idle, `r` goes back to 1, so that one
 *   which has recovered is tried again. One that joins counts as up to 60 % slower at first, at random, so that
 *   clients do not flood it all at once. One that was passed over for some turns gets a call all the same, the sooner
 *   the less it is to blame.
 * - `t`, 0 … 1, is by how much differences of `r` up to 30 % are to be believed; what is beyond is believed in any
 *   case. It is eight times the slope by which an answer foretells the next one from the same backend, sooner after it
 *   the better, less one standard error, over the last 2,000 calls. Where pods are alike and idle, no answer foretells
 *   anything, so `r` is chance, and calls are spread about as `leastConnection` does; where they queue, or differ,
 *   clients do best to keep to the backends that look fastest to each. Factors within 2 % of 1 count as 1, and costs
 *   within some 3 % as equal.
 * - `a` is the age of the oldest call without an answer, over what is expected of it, up to 30: a stall shows before
 *   any answer does.
 * - A failure (an error, 429, 502, 503, 504) makes a backend up to 30 times as dear: by the likelihood that it is
 *   broken rather than unlucky, given how often calls fail elsewhere. It gets one trial per 800 calls of this client,
 *   at 1 … 15 s; the first success ends it. When more than half are suspect, each of those gets a call every other
 *   turn besides, so that what is left is not flooded.
 * - Time in which our own event loop was blocked is not held against any backend.
 *
 * Where endpoints differ in weight, turns are taken instead, as `weightedRoundRobin` does, each turn made longer by
 * the cost: shares follow the weights, and give way under load.
 *
 * It descends from Finagle's and linkerd's peak EWMA and from Prequal (Wydrowski et al., "Load is not what you
 * should balance", NSDI 2024), which balances by latency and calls in flight too, but asks the servers.
 */
export function adaptive(options: AdaptiveOptions = {}): Balancer {
  checkOptions('adaptive', { random: func, clock: implementing('a Clock', 'now', 'schedule') }, options);
  return new Adaptive(options.random ?? systemRandom, options.clock ?? systemClock);
}

interface AdaptiveView extends View {
  readonly members: readonly Known[];
  readonly ranking: Ranking;
  /** Where weights differ. */
  readonly turns: Schedule | undefined;
  /** The number of the last call of each member, by index. */
  readonly lastCalls: Float64Array;
  /** The member that is next looked at for starving, and the one whose calls are next counted anew. */
  next: number;
  check: number;
}

type Known = AdaptiveMember<AdaptiveView>;

class Adaptive implements Balancer {
  readonly #random: Random;
  readonly #pulse: Pulse;
  readonly #roster: Roster<Known, AdaptiveView>;
  readonly #watched: Known[] = [];
  readonly #end = (use: Use<AdaptiveView>, outcome: Outcome): void => this.#release(use, outcome);
  /** The first of those that have ended, to be used again. */
  #free: Use<AdaptiveView> | undefined;
  #uses = 0;
  #swept: number;
  /** Calls that have begun, and as of the last sweep. */
  #begun = 0;
  #begunBefore = 0;
  #rate = 0;

  constructor(random: Random, clock: Clock) {
    this.#random = random;
    this.#pulse = new Pulse(
      clock,
      () => this.#sweep(),
      () => this.#watched.some(({ oldest }) => oldest !== undefined),
    );
    this.#swept = this.#pulse.now;
    this.#roster = new Roster<Known, AdaptiveView>(
      (backend) => new AdaptiveMember(backend, this.#pulse, this.#begun),
      (backends, members, former) => this.#arrange(backends, members, former),
    );
  }

  pick(backends: Backends, { tried }: PickRequest): Backend {
    const view = this.#roster.view(backends);
    if (this.#begun === 0 && view.turns === undefined) return fewest(backends, tried, this.#random);
    const { members } = view;
    const next = view.next;
    view.next = next + 1 < members.length ? next + 1 : 0;
    // A use that was begun or ended elsewhere is seen before long.
    if (next % checkEvery === 0) this.#recheck(view);
    if (view.turns !== undefined) return this.#takeTurn(view, view.turns, backends, tried);
    const calls = this.#begun - (view.lastCalls[next] as number);
    const starves =
      calls > fewTurns * members.length &&
      this.#starves(view, next, calls) &&
      !tried?.has(backends[next] as Backend);
    const index = starves ? next : view.ranking.cheapest(backends, tried, this.#random);
    if (index === -1) return backends[(this.#random() * backends.length) | 0] as Backend;
    this.#roster.expect(members[index] as Known);
    return backends[index] as Backend;
  }

  begin(backend: Backend): Release {
    this.#pulse.read();
    const { now } = this.#pulse;
    const member = this.#roster.member(backend);
    if (member.uses === 0) member.relax();
    member.uses++;
    if (member.suspicion > 0) member.lastUse = now;
    const { view } = member;
    this.#begun++;
    if (view === undefined) member.lastCall = this.#begun;
    else view.lastCalls[member.index] = this.#begun;
    member.count();
    const use = this.#free ?? new Use(member, this.#end);
    this.#free = use.next;
    use.member = member;
    use.open = true;
    use.start = now;
    use.seen = member.inflight;
    use.stalled = this.#pulse.stalled;
    this.#rank(member);
    use.link();
    this.#uses++;
    this.#watch(member);
    this.#pulse.start();
    return use.release;
  }

  #release(use: Use<AdaptiveView>, outcome: Outcome): void {
    if (!use.open) return;
    use.open = false;
    const { member } = use;
    const awaited = use.linked;
    use.unlink();
    this.#uses--;
    member.uses--;
    member.count();
    if (outcome.kind !== 'cancelled') {
      member.learn(outcome, use);
      if (member.suspicion > 0) {
        member.lastUse = this.#pulse.now;
        member.jitter = 0.8 + 0.4 * this.#random();
      }
    } else if (awaited) {
      member.learnAtLeast(use);
    }
    if (member.uses === 0) member.rest();
    this.#rank(member);
    use.next = this.#free;
    this.#free = use;
  }

  #takeTurn(
    view: AdaptiveView,
    turns: Schedule,
    backends: Backends,
    tried: ReadonlySet<Backend> | undefined,
  ): Backend {
    for (let turn = tried === undefined ? 0 : 2 * tried.size; turn >= 0; turn--) {
      const index = turns.first();
      const member = view.members[index] as Known;
      member.count();
      turns.delay(member.cost());
      const backend = backends[index] as Backend;
      if (!tried?.has(backend)) return backend;
    }
    const index = view.ranking.cheapest(backends, tried, this.#random);
    return backends[index === -1 ? (this.#random() * backends.length) | 0 : index] as Backend;
  }

  /** Whether a backend was passed over for longer than what it is blamed for explains. */
  #starves({ members }: AdaptiveView, index: number, calls: number): boolean {
    const { relative, inflight, suspicion, fleet } = members[index] as Known;
    if (suspicion > 0) return fleet?.manySuspects === true;
    const turns = calls / members.length - fewTurns;
    return turns > (relative - 1) * turnsPerExcess && inflight === 0;
  }

  #recheck(view: AdaptiveView): void {
    const member = view.members[view.check] as Known;
    view.check = view.check + 1 < view.members.length ? view.check + 1 : 0;
    if (member.backend.inflight === member.inflight) return;
    member.count();
    this.#rank(member);
  }

  #rank(member: Known): void {
    member.view?.ranking.set(member.index, member.cost());
  }

  #watch(member: Known): void {
    if (member.watched || !member.restless) return;
    member.watched = true;
    this.#watched.push(member);
  }

  /** Brings up to date what changes by time alone. */
  #sweep(): void {
    const now = this.#pulse.now;
    const elapsed = now - this.#swept;
    if (elapsed > 0) {
      const calls = this.#begun - this.#begunBefore;
      this.#rate += (calls / elapsed - this.#rate) * Math.min(1, elapsed / rateMemory);
      this.#begunBefore = this.#begun;
      this.#swept = now;
    }
    const trial = Math.min(latestTrial, Math.max(soonestTrial, callsPerTrial / this.#rate));
    const watched = this.#watched;
    let kept = 0;
    for (let i = 0; i < watched.length; i++) {
      const member = watched[i] as Known;
      if (member.uses === 0) {
        member.relax();
        if (member.suspicion > 0 && now - member.lastUse > trial * member.jitter)
          member.fleet?.acquit(member);
      } else {
        member.dropStreams();
      }
      this.#rank(member);
      // One that has left the set would keep it in memory; back in one, it is watched again.
      member.watched = member.restless && (member.uses > 0 || member.current);
      if (member.watched) watched[kept++] = member;
    }
    watched.length = kept;
  }

  #arrange(backends: Backends, members: readonly Known[], former: AdaptiveView | undefined): AdaptiveView {
    let fleet: Fleet | undefined;
    for (const member of members) if ((fleet = member.fleet) !== undefined) break;
    fleet ??= new Fleet();
    fleet.size = members.length;
    fleet.suspects = 0;
    const ranked = former?.ranking ?? ranking(members.length);
    members.forEach((member, index) => {
      // At random, so that clients do not all turn to it at once.
      if (member.fleet === undefined && fleet.unit > 0) member.relative += strangeness * this.#random();
      member.fleet = fleet;
      if (member.suspicion > 0) fleet.suspects++;
      member.count();
      this.#watch(member);
      ranked.set(index, member.cost());
    });
    const lastCalls = former?.lastCalls ?? new Float64Array(members.length);
    for (let i = 0; i < members.length; i++) {
      const { view, index, lastCall } = members[i] as Known;
      lastCalls[i] = view === undefined ? lastCall : (view.lastCalls[index] as number);
    }
    if (former !== undefined) return former;
    const weights = backends.map(weightOf);
    const even = weights.every((weight) => weight === weights[0]);
    const turns = even ? undefined : new Schedule(backends, weights, spreadPhases(this.#random));
    return { stale: false, members, ranking: ranked, turns, lastCalls, next: 0, check: 0 };
  }
}
