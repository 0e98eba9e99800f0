import type { Backend } from '../../core/backend.ts';
import { isFailure, type Outcome } from '../../core/outcome.ts';
import type { Member, View } from '../roster.ts';
import type { Fleet } from './fleet.ts';
import type { Pulse } from './pulse.ts';
import type { Use } from './use.ts';

/** ms that samples are remembered for, where they are rare; where they are many, the last 30 or so count. */
const memory = 4_000;
const leastSampleWeight = 0.03;
const mostSampleWeight = 0.15;
/** Where a backend was slower than chance explains, and is faster now: others would have its calls meanwhile. */
const mostRecoveryWeight = 0.5;
/** Shorter rests than this, in ms, change nothing worth a division. */
const shortRest = 20;
/** Before any sample, being like the others counts as so many. */
const prior = 4;
/** What one sample can say: a tenth of the usual, or twice what is known. Heavy tails are not a pod's fault. */
const leastSample = 0.1;
const mostSample = 2;
/** ms in which an idle backend's excess of 1 is forgotten to a half; a larger excess goes faster, a smaller one slower. */
const rest = 6_000;
/** A factor this near to 1 is taken for 1. */
const alike = 0.02;
/** By how much a backend may differ from others by chance; what is beyond is believed in any case. */
const chance = 0.3;
/** After so many times the usual latency, an answer tells half as much about what the next call will meet. */
const fade = 1.5;
/** How much an old call without an answer adds to a backend's calls, per expected time that it has waited. */
const ageWeight = 0.3;
const mostAge = 30;
/** A call that is older than this many ms, and than so many times what is expected, is a stream, which says nothing. */
const streamAge = 10_000;
const streamTimes = 20;
/** How much dearer a backend is that is taken to be broken. */
const brokenFactor = 30;

/** A cancelled call says at most that its backend was slow to answer. */
export type Sample = Exclude<Outcome, { kind: 'cancelled' }>;

/** What is known about one backend, and what follows for its cost. */
export class AdaptiveMember<V extends View> implements Member<V> {
  readonly backend: Backend;
  readonly #pulse: Pulse;
  view: V | undefined = undefined;
  index = 0;
  fleet: Fleet | undefined = undefined;
  /** Whether it is among those that change by time alone. */
  watched = false;
  /** Uses that were begun here and have not ended. */
  uses = 0;
  inflight: number;
  /** Those uses of which an answer is awaited, by age. */
  oldest: Use<V> | undefined = undefined;
  newest: Use<V> | undefined = undefined;
  /** Latency in units of the fleet's: 1 is like the others. */
  relative = 1;
  #samples = 0;
  #sampled = 0;
  /** By how much the last answer was above the usual, of 1. */
  #last = 0;
  #restedFrom = 0;
  /** When it was last used since it is suspected. */
  lastUse = 0;
  /** Which of all calls its last one was, until it is in a view. */
  lastCall: number;
  failures = 0;
  /** How sure it is to be broken, of 1. */
  suspicion = 0;
  /** Makes this one's trials come at another time than other clients'. */
  jitter = 1;

  constructor(backend: Backend, pulse: Pulse, begun: number) {
    this.backend = backend;
    this.#pulse = pulse;
    this.inflight = backend.inflight;
    this.lastCall = begun;
    this.#sampled = this.#restedFrom = this.lastUse = pulse.now;
  }

  /** Reads the calls in flight; never fewer than were begun here. */
  count(): void {
    const { inflight } = this.backend;
    this.inflight = inflight > this.uses ? inflight : this.uses;
  }

  /** Latency that is expected of a call that finds as many in flight as this one, itself included, in ms. */
  expected(seen: number): number {
    return (this.fleet?.unit ?? 0) * this.relative * seen;
  }

  /** Takes an answered call into account. */
  learn(outcome: Sample, use: Use<V>): void {
    const fleet = this.fleet;
    if (fleet === undefined) return;
    if (isFailure(outcome) || (outcome.kind === 'response' && outcome.status === 429)) {
      this.failures++;
      fleet.failed(this);
      return;
    }
    this.failures = 0;
    fleet.succeeded(this);
    let { latency } = outcome;
    if (!(latency >= 0 && latency < Number.POSITIVE_INFINITY)) return;
    const { seen } = use;
    const at = use.start + latency;
    // By how many ms too long we may have measured; an answer that was there before the last stall began, by none.
    const blur = at < this.#pulse.lastStallBegan ? 0 : this.#pulse.stalled - use.stalled;
    // Of what may be true, what is likeliest: our own stall is not the backend's fault.
    if (blur > 0) latency = Math.min(latency, Math.max(latency - blur, this.expected(seen)));
    this.#blend(fleet, fleet.measure(latency / seen, mostSample), use.start, at);
  }

  /** A call was given up that had waited longer than expected: it would have taken at least that. */
  learnAtLeast({ start, seen, stalled }: Use<V>): void {
    const { fleet } = this;
    const { now } = this.#pulse;
    const waited = now - start - (this.#pulse.stalled - stalled);
    if (fleet === undefined || fleet.unit === 0 || waited <= this.expected(seen)) return;
    this.#blend(fleet, waited / seen / fleet.unit, start, now);
  }

  /** Forgets while idle. */
  relax(): void {
    if (this.relative !== 1) this.#forget();
  }

  #forget(): void {
    const { now } = this.#pulse;
    const excess = this.relative - 1;
    const idle = now - this.#restedFrom;
    if (idle < shortRest) return;
    this.#restedFrom = now;
    const left = excess / (1 + (Math.abs(excess) * idle) / rest);
    this.relative = Math.abs(left) < 0.01 ? 1 : 1 + left;
  }

  rest(): void {
    this.#restedFrom = this.#pulse.now;
  }

  /** What the next call here would cost. */
  cost(): number {
    let calls = this.inflight + 1;
    if (this.oldest !== undefined) calls += ageWeight * this.#age(this.oldest);
    const excess = this.relative - 1;
    const size = excess < 0 ? -excess : excess;
    let believed = size * (this.fleet?.trust ?? 0);
    if (size > chance && believed < size - chance) believed = size - chance;
    let factor = believed > alike ? (excess > 0 ? 1 + believed : 1 - believed) : 1;
    if (this.suspicion > 0) factor *= 1 + (brokenFactor - 1) * this.suspicion;
    return calls * factor;
  }

  /** The age of a call without an answer, over what is expected of it. */
  #age({ start, stalled, seen }: Use<V>): number {
    const age = this.#pulse.now - start - (this.#pulse.stalled - stalled);
    const expected = age > 0 ? this.expected(seen) : 0;
    return expected > 0 ? Math.min(mostAge, age / expected) : 0;
  }

  /** Drops what has waited so long that it must be a stream. */
  dropStreams(): void {
    const { now } = this.#pulse;
    for (let use = this.oldest; use !== undefined; use = this.oldest) {
      const age = now - use.start;
      if (age <= streamAge || age <= streamTimes * this.expected(use.seen)) return;
      use.unlink();
    }
  }

  /** Whether it is of the set that was picked from last. */
  get current(): boolean {
    return this.view?.stale === false;
  }

  /** Whether its cost can change by time alone. */
  get restless(): boolean {
    return this.uses > 0 || this.relative !== 1 || this.suspicion > 0;
  }

  #blend(fleet: Fleet, ratio: number, start: number, at: number): void {
    const { relative } = this;
    const fading = fade * fleet.unit;
    const rested = start - this.#sampled;
    const told = rested > 0 ? (this.#last * fading) / (fading + rested) : this.#last;
    this.#last = (ratio < leastSample ? leastSample : ratio > mostSample ? mostSample : ratio) - 1;
    fleet.judge(told, this.#last);
    const most = relative > 1 ? mostSample * relative : mostSample;
    const sample = ratio < leastSample ? leastSample : ratio > most ? most : ratio;
    const elapsed = at - this.#sampled;
    // Where calls are frequent, the exponential would be below the least anyway.
    const rare = elapsed > leastSampleWeight * memory || this.#samples < 1 / leastSampleWeight;
    const weight = rare ? this.#weight(sample, elapsed) : leastSampleWeight;
    this.relative = relative + (sample - relative) * weight;
    if (at > this.#sampled) this.#sampled = at;
  }

  /** How much a sample counts that comes `elapsed` ms after the last one, of 1. */
  #weight(sample: number, elapsed: number): number {
    const { relative } = this;
    const most = sample < relative && relative > 1 + chance ? mostRecoveryWeight : mostSampleWeight;
    const weight = Math.max(leastSampleWeight, Math.min(most, 1 - Math.exp(-elapsed / memory)));
    return this.#samples < 1 / leastSampleWeight ? Math.max(weight, 1 / (prior + ++this.#samples)) : weight;
  }
}
