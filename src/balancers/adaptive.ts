import type { Backend, Backends } from '../core/backend.ts';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import { type Clock, type Random, systemClock, systemRandom } from '../core/clock.ts';
import { checkOptions, func, implementing } from '../core/options.ts';
import { isFailure, type Outcome, type Release } from '../core/outcome.ts';
import { type Member, Roster, type View } from './roster.ts';

export interface AdaptiveOptions {
  readonly random?: Random;
  readonly clock?: Clock;
}

const tick = 100;
const rest = 4_000;
const memory = 2_000;
const failureSample = 30;
const patience = 4;

/** What the members of one service have in common. */
interface Fleet {
  unit: number | undefined;
}

interface AdaptiveView extends View {
  readonly members: readonly AdaptiveMember[];
  readonly fleet: Fleet;
}

class AdaptiveMember implements Member<AdaptiveView> {
  readonly backend: Backend;
  view: AdaptiveView | undefined = undefined;
  index = 0;
  fleet: Fleet | undefined = undefined;
  uses = 0;
  inflight: number;
  relative = 1;
  samples = 0;
  sampled = 0;
  idleSince = 0;
  cost = 1;
  oldest: Use | undefined = undefined;
  newest: Use | undefined = undefined;

  constructor(backend: Backend) {
    this.backend = backend;
    this.inflight = backend.inflight;
  }
}

class Use {
  member: AdaptiveMember;
  start = 0;
  seen = 0;
  older: Use | undefined = undefined;
  newer: Use | undefined = undefined;
  readonly release: Release;

  constructor(member: AdaptiveMember, end: (use: Use, outcome: Outcome) => void) {
    this.member = member;
    this.release = (outcome) => end(this, outcome);
  }
}

/** Latency-corrected least connection: the backend that will be done first, as far as this client can tell. */
export function adaptive(options: AdaptiveOptions = {}): Balancer {
  checkOptions('adaptive', { random: func, clock: implementing('a Clock', 'now', 'schedule') }, options);
  return new Adaptive(options.random ?? systemRandom, options.clock ?? systemClock);
}

class Adaptive implements Balancer {
  readonly #random: Random;
  readonly #clock: Clock;
  readonly #roster: Roster<AdaptiveMember, AdaptiveView>;
  readonly #free: Use[] = [];
  readonly #watched = new Set<AdaptiveMember>();
  readonly #end = (use: Use, outcome: Outcome): void => this.#release(use, outcome);
  readonly #tick = (): void => this.#sweep();
  #ticking = false;
  #inflight = 0;

  constructor(random: Random, clock: Clock) {
    this.#random = random;
    this.#clock = clock;
    this.#roster = new Roster((backend) => new AdaptiveMember(backend), arrange);
  }

  pick(backends: Backends, { tried }: PickRequest): Backend {
    const { members } = this.#roster.view(backends);
    let best: AdaptiveMember | undefined;
    let least = Number.POSITIVE_INFINITY;
    let equals = 0;
    for (const member of members) {
      if (tried?.has(member.backend)) continue;
      if (member.inflight !== member.backend.inflight) {
        member.inflight = member.backend.inflight;
        this.#price(member, undefined);
      }
      if (member.cost > least) continue;
      equals = member.cost === least ? equals + 1 : 1;
      least = member.cost;
      if (equals === 1 || this.#random() * equals < 1) best = member;
    }
    return best?.backend ?? (backends[(this.#random() * backends.length) | 0] as Backend);
  }

  begin(backend: Backend): Release {
    const now = this.#clock.now();
    const member = this.#roster.member(backend);
    if (member.uses === 0) this.#relax(member, now);
    member.uses++;
    member.inflight = Math.max(backend.inflight, member.uses);
    const use = this.#free.pop() ?? new Use(member, this.#end);
    use.member = member;
    use.start = now;
    use.seen = member.inflight;
    use.older = member.newest;
    use.newer = undefined;
    if (member.newest !== undefined) member.newest.newer = use;
    else member.oldest = use;
    member.newest = use;
    this.#inflight++;
    this.#watched.add(member);
    this.#price(member, now);
    if (!this.#ticking) {
      this.#ticking = true;
      this.#clock.schedule(tick, this.#tick);
    }
    return use.release;
  }

  #release(use: Use, outcome: Outcome): void {
    const { member } = use;
    if (use.older !== undefined) use.older.newer = use.newer;
    else member.oldest = use.newer;
    if (use.newer !== undefined) use.newer.older = use.older;
    else member.newest = use.older;
    this.#free.push(use);
    this.#inflight--;
    member.uses--;
    member.inflight = Math.max(member.backend.inflight, member.uses);
    const now = this.#clock.now();
    if (outcome.kind !== 'cancelled') this.#learn(member, use.seen, outcome, now);
    if (member.uses === 0) member.idleSince = now;
    this.#price(member, now);
  }

  #learn(
    member: AdaptiveMember,
    seen: number,
    outcome: Exclude<Outcome, { kind: 'cancelled' }>,
    now: number,
  ): void {
    const failed = isFailure(outcome) || (outcome.kind === 'response' && outcome.status === 429);
    const fleet = (member.fleet ??= { unit: undefined });
    let sample = failureSample;
    if (!failed) {
      const unit = outcome.latency / seen;
      fleet.unit = fleet.unit === undefined ? unit : fleet.unit + (unit - fleet.unit) * 0.02;
      sample = fleet.unit > 0 ? Math.min(10, Math.max(0.1, unit / fleet.unit)) : 1;
    }
    const elapsed = now - member.sampled;
    let weight = Math.min(0.5, Math.max(0.05, 1 - Math.exp(-elapsed / memory)));
    if (failed) weight = Math.max(weight, 0.5);
    member.samples++;
    if (!failed) weight = Math.max(weight, 1 / member.samples);
    member.relative += (sample - member.relative) * weight;
    member.sampled = now;
  }

  #relax(member: AdaptiveMember, now: number): void {
    if (member.relative === 1) return;
    member.relative = 1 + (member.relative - 1) * Math.exp((member.idleSince - now) / rest);
    member.idleSince = now;
  }

  #price(member: AdaptiveMember, now: number | undefined): void {
    const { relative, oldest, fleet } = member;
    let factor = relative > 1.2 || relative < 0.8 ? relative : 1;
    if (member.samples < 3 && relative < 2) factor = 1;
    if (now !== undefined && oldest !== undefined && fleet?.unit !== undefined) {
      const patient = patience * fleet.unit * relative * oldest.seen;
      const age = now - oldest.start;
      if (age > patient) factor *= Math.min(30, age / patient);
    }
    member.cost = (member.inflight + 1) * factor;
  }

  #sweep(): void {
    const now = this.#clock.now();
    for (const member of this.#watched) {
      if (member.uses === 0) {
        this.#relax(member, now);
        if (Math.abs(member.relative - 1) < 0.01) this.#watched.delete(member);
      }
      this.#price(member, now);
    }
    this.#ticking = this.#inflight > 0;
    if (this.#ticking) this.#clock.schedule(tick, this.#tick);
  }
}

function arrange(_backends: Backends, members: readonly AdaptiveMember[]): AdaptiveView {
  const fleet = members.find((member) => member.fleet !== undefined)?.fleet ?? { unit: undefined };
  for (const member of members) member.fleet = fleet;
  return { stale: false, members, fleet };
}
