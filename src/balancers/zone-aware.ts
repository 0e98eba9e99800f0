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
/** What one answer changes of the share that goes elsewhere: up when own pods are too slow, else down. */
const stepUp = 0.01;
const stepDown = 0.005;
/** Weight of one call in a side's latency and in its usual number of calls in flight. */
const latencyWeight = 0.02;
const inflightWeight = 0.01;
/** A failure counts as an answer this many times as slow as usual. */
const failureTimes = 10;

/**
 * Prefers endpoints of the caller's own zone, without topology hints: `zoneAware(adaptive(), { zone })`. `inner`
 * chooses among those of the zone, or among the others, never among both.
 *
 * As much as needed spills over: while own pods answer more than 1.5 times as slowly as those elsewhere, a growing
 * share of the calls goes elsewhere, up to an even spread over all; one that shrinks again afterwards, down to 1 %,
 * which shows how fast the others are. So a zone with few pods is not overloaded by the many clients in it. When own
 * pods stop answering, calls go elsewhere at once. Without a pod in the zone, or outside it, `inner` sees all.
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

  began(): void {
    this.inflight++;
    this.usualInflight += (this.inflight - this.usualInflight) * inflightWeight;
  }

  ended(outcome: Outcome): void {
    this.inflight--;
    if (outcome.kind === 'cancelled') return;
    if (isFailure(outcome)) {
      if (this.latency !== undefined) this.latency += this.latency * (failureTimes - 1) * latencyWeight;
    } else if (this.latency === undefined) {
      this.latency = outcome.latency;
    } else {
      this.latency += (outcome.latency - this.latency) * latencyWeight;
    }
  }
}

interface Split {
  readonly near: Backends;
  readonly far: Backends;
  /** The share that goes elsewhere when calls are spread evenly over all. */
  readonly even: number;
}

/** One use; the object and its release are used again. */
class ZonedUse {
  near = true;
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
  readonly #near = new Side();
  readonly #far = new Side();
  readonly #free: ZonedUse[] = [];
  readonly #end = (use: ZonedUse, outcome: Outcome): void => this.#release(use, outcome);
  #spill = leastSpill;

  constructor(inner: Balancer, zone: string, random: Random) {
    this.#inner = inner;
    this.#zone = zone;
    this.#random = random;
  }

  pick(backends: Backends, request: PickRequest): Backend {
    let split = this.#splits.get(backends);
    if (split === undefined) this.#splits.set(backends, (split = splitOf(backends, this.#zone)));
    if (split === 'whole') return this.#inner.pick(backends, request);
    const { near, far, even } = split;
    const goFar = this.#nearIsStuck(near.length) || this.#random() < Math.min(this.#spill, even);
    const first = this.#inner.pick(goFar ? far : near, request);
    if (request.tried === undefined || !request.tried.has(first)) return first;
    return this.#inner.pick(goFar ? near : far, request);
  }

  begin(backend: Backend): Release {
    const use = this.#free.pop() ?? new ZonedUse(this.#end);
    use.near = backend.endpoint.zone === this.#zone;
    (use.near ? this.#near : this.#far).began();
    use.inner = this.#inner.begin?.(backend);
    return use.release;
  }

  #release(use: ZonedUse, outcome: Outcome): void {
    const { inner, near } = use;
    use.inner = undefined;
    this.#free.push(use);
    (near ? this.#near : this.#far).ended(outcome);
    if (near) this.#adjust();
    inner?.(outcome);
  }

  /** Far more calls wait than usually do. */
  #nearIsStuck(count: number): boolean {
    const { inflight, usualInflight } = this.#near;
    return inflight > 3 * usualInflight + count + 2;
  }

  #adjust(): void {
    const near = this.#near.latency;
    const far = this.#far.latency;
    if (near === undefined || far === undefined) return;
    if (near > tolerance * far) this.#spill = Math.min(1, this.#spill + stepUp);
    else this.#spill = Math.max(leastSpill, this.#spill - stepDown);
  }
}

function splitOf(backends: Backends, zone: string): Split | 'whole' {
  const [near, ...moreNear] = backends.filter(({ endpoint }) => endpoint.zone === zone);
  const [far, ...moreFar] = backends.filter(({ endpoint }) => endpoint.zone !== zone);
  if (near === undefined || far === undefined) return 'whole';
  return {
    near: [near, ...moreNear],
    far: [far, ...moreFar],
    even: (moreFar.length + 1) / backends.length,
  };
}
