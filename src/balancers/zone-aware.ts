import type { Backend, Backends } from '../core/backend.ts';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import { type Random, systemRandom } from '../core/clock.ts';
import { checkOptions, func, implementing, string } from '../core/options.ts';
import { isFailure, type Outcome, type Release } from '../core/outcome.ts';

export interface ZoneAwareOptions {
  /** The caller's own zone, as `Endpoint.zone` spells it, e.g. from the pod's `topology.kubernetes.io/zone` label. */
  readonly zone: string;
  readonly random?: Random;
}

/** Own pods may be this many times as slow as those elsewhere before calls go there. */
const tolerance = 1.5;
/** Share of the calls that goes elsewhere in any case, to know how fast it is there. */
const leastSpill = 0.01;
/** How much one answer changes the share that goes elsewhere: this much per e-fold that own pods are too slow. */
const gain = 0.005;
const fastest = 4;
const slowest = -0.5;
/** Weight of one call in a side's latency, the first ones counting equally, and in its usual number of calls in flight. */
const latencyWeight = 0.1;
const inflightWeight = 0.01;
/** A failure counts as an answer this many times as slow as usual. */
const failureTimes = 10;

/**
 * Prefers endpoints of the caller's own zone, without topology hints: `zoneAware(adaptive(), { zone })`. `inner`
 * chooses among those of the zone, or among the others.
 *
 * Calls begin spread over all, and draw back into the zone while its pods answer at most 1.5 times as slowly as those
 * elsewhere; while they are slower, or fail, a growing share goes elsewhere again. So a zone with few pods is not
 * overloaded by the many clients in it: when an even share goes elsewhere, the zone counts no more, and `inner` chooses
 * among all. At least 1 % goes elsewhere, which shows how fast the others are. When own pods stop answering, calls go
 * elsewhere at once. Without a pod in the zone, or outside it, `inner` sees all.
 *
 * @throws {TypeError | RangeError} for options that are wrong.
 */
export function zoneAware(inner: Balancer, options: ZoneAwareOptions): Balancer {
  implementing('a Balancer', 'pick')(inner, 'inner of zoneAware');
  checkOptions('zoneAware', { zone: string, random: func }, options);
  if (options.zone === undefined) throw new TypeError('zoneAware: option zone is missing');
  return new ZoneAware(inner, options.zone, options.random ?? systemRandom);
}

/** Backends of one side, in or outside the zone. */
class Side {
  /** ms that an answer takes; undefined before the first. */
  latency: number | undefined = undefined;
  inflight = 0;
  usualInflight = 0;
  #answers = 0;

  began(): void {
    this.inflight++;
    this.usualInflight += (this.inflight - this.usualInflight) * inflightWeight;
  }

  ended(outcome: Outcome): void {
    this.inflight--;
    if (outcome.kind === 'cancelled' || !(outcome.latency >= 0 && outcome.latency < Number.POSITIVE_INFINITY))
      return;
    this.#answers++;
    const known = this.latency ?? outcome.latency;
    const sample = isFailure(outcome) ? known * failureTimes : outcome.latency;
    this.latency = known + (sample - known) * Math.max(latencyWeight, 1 / this.#answers);
  }
}

/** What is known about a service: its side in the zone, and the one elsewhere. */
class Sides {
  readonly near = new Side();
  readonly far = new Side();
  /** Share that goes elsewhere; begins evenly spread, because the zone may be small. */
  #spill = 1;
  #even = 1;

  /** Which of the backends a call may go to, by a random number from 0 to 1. */
  among(all: Backends, { near, far, even }: Split, random: number): Backends {
    this.#even = even;
    if (this.#nearIsStuck(near.length, far.length)) return far;
    // The zone has no advantage left: whoever is best, wherever it is, as if there were no zones.
    if (this.#spill >= even) return all;
    return random < this.#spill ? far : near;
  }

  /** Far more calls wait than usually do, and than elsewhere. */
  #nearIsStuck(nearCount: number, farCount: number): boolean {
    const { inflight, usualInflight } = this.near;
    if (inflight <= 3 * usualInflight + nearCount + 2) return false;
    return inflight / nearCount > (2 * (this.far.inflight + 1)) / farCount;
  }

  /** After an answer from the zone. */
  adjust(): void {
    const near = this.near.latency;
    const far = this.far.latency;
    if (near === undefined || far === undefined) return;
    if (!(near > 0 && far > 0)) return;
    const excess = Math.log(near / (tolerance * far));
    this.#spill = Math.min(this.#spill, this.#even) + gain * Math.min(fastest, Math.max(slowest, excess));
    this.#spill = Math.min(this.#even, Math.max(leastSpill, this.#spill));
  }
}

interface Split {
  readonly near: Backends;
  readonly far: Backends;
  /** The share that goes elsewhere when calls are spread evenly over all. */
  readonly even: number;
  readonly sides: Sides;
}

/** One use; the object and its release are used again. */
class ZonedUse {
  near = true;
  sides: Sides | undefined = undefined;
  /** Begun and not ended. */
  open = false;
  inner: Release | undefined = undefined;
  readonly release: Release;

  constructor(end: (use: ZonedUse, outcome: Outcome) => void) {
    this.release = (outcome) => end(this, outcome);
  }
}

class ZoneAware implements Balancer {
  readonly #inner: Balancer;
  readonly #zone: string;
  readonly #random: Random;
  readonly #splits = new WeakMap<Backends, Split | 'whole'>();
  /** By backend, because services may share one balancer. */
  readonly #sides = new WeakMap<Backend, Sides>();
  readonly #free: ZonedUse[] = [];
  readonly #end = (use: ZonedUse, outcome: Outcome): void => this.#release(use, outcome);

  constructor(inner: Balancer, zone: string, random: Random) {
    this.#inner = inner;
    this.#zone = zone;
    this.#random = random;
  }

  pick(backends: Backends, request: PickRequest): Backend {
    let split = this.#splits.get(backends);
    if (split === undefined) this.#splits.set(backends, (split = this.#split(backends)));
    if (split === 'whole') return this.#inner.pick(backends, request);
    const { near, far, sides } = split;
    const among = sides.among(backends, split, this.#random());
    const first = this.#inner.pick(among, request);
    if (request.tried === undefined || !request.tried.has(first)) return first;
    return this.#inner.pick(among === near ? far : near, request);
  }

  begin(backend: Backend): Release {
    const use = this.#free.pop() ?? new ZonedUse(this.#end);
    use.open = true;
    use.near = backend.endpoint.zone === this.#zone;
    use.sides = this.#sides.get(backend);
    if (use.sides !== undefined) (use.near ? use.sides.near : use.sides.far).began();
    use.inner = this.#inner.begin?.(backend);
    return use.release;
  }

  #release(use: ZonedUse, outcome: Outcome): void {
    if (!use.open) return;
    use.open = false;
    const { inner, near, sides } = use;
    use.inner = use.sides = undefined;
    this.#free.push(use);
    if (sides !== undefined) {
      (near ? sides.near : sides.far).ended(outcome);
      if (near) sides.adjust();
    }
    inner?.(outcome);
  }

  #split(backends: Backends): Split | 'whole' {
    const [near, ...moreNear] = backends.filter(({ endpoint }) => endpoint.zone === this.#zone);
    const [far, ...moreFar] = backends.filter(({ endpoint }) => endpoint.zone !== this.#zone);
    if (near === undefined || far === undefined) return 'whole';
    let sides: Sides | undefined;
    for (const backend of backends) if ((sides = this.#sides.get(backend)) !== undefined) break;
    sides ??= new Sides();
    for (const backend of backends) this.#sides.set(backend, sides);
    return {
      near: [near, ...moreNear],
      far: [far, ...moreFar],
      even: (moreFar.length + 1) / backends.length,
      sides,
    };
  }
}
