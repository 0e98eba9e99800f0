import type { View } from '../roster.ts';
import type { AdaptiveMember } from './member.ts';

/** Weight of one call in what is usual for the fleet; the first ones count equally. */
const unitWeight = 0.02;
const failureWeight = 0.005;
/** What is known is judged by about so many samples, the latest ones, anew after each few of them … */
const judgedSamples = 1_000;
const judgedAtOnce = 16;
/** … and believed until then, as if a deviation of 1 had proven true. */
const belief = 1;
/** What is known is believed this much in any case, by a client with two calls in flight or fewer; by one with more, less. */
const leastTrust = 0.3;
/** Failures are never taken for impossible, nor is a broken backend: the share of calls that meet either by chance. */
const leastFailureRate = 1e-4;
const brokenRate = 1e-3;

/** What the backends of one service have in common. */
export class Fleet {
  /** Usual latency per call in flight, in ms; 0 before the first answer. */
  unit = 0;
  size = 0;
  /** Of the set that was picked from last. */
  suspects = 0;
  /** How much of what is known about the backends is not chance, of 1. */
  trust = 1;
  #measured = 0;
  #judged = 0;
  #spread = 0;
  #foretold = 0;
  #failureRate = leastFailureRate;

  /** When most look broken, the fault may be elsewhere, and what is left must not be flooded. */
  get manySuspects(): boolean {
    return this.suspects * 2 > this.size;
  }

  /** Takes a sample of ms per call in flight; returns it as a multiple of the usual. */
  measure(unit: number, most: number): number {
    // Outliers must not make all others look fast.
    const bounded = this.unit > 0 && unit > most * this.unit ? most * this.unit : unit;
    const weight = this.#measured < 1 / unitWeight ? 1 / ++this.#measured : unitWeight;
    this.unit += (bounded - this.unit) * weight;
    return this.unit > 0 ? unit / this.unit : 1;
  }

  /**
   * Takes a relative latency, the sample that came after it, and how many calls this client had in flight. The slope
   * of the regression of samples on what was known before them is by how much that is to be shrunk towards 1: what is
   * chance foretells nothing. But clients that each see a small part of the load do best to keep to different
   * backends, and chance tells them which.
   */
  judge(relative: number, sample: number, inflight: number): void {
    const excess = relative - 1;
    this.#spread += excess * excess;
    this.#foretold += excess * (sample - 1);
    if (++this.#judged % judgedAtOnce === 0) this.#conclude(inflight);
  }

  #conclude(inflight: number): void {
    const least = leastTrust / Math.max(1, inflight / 2);
    this.trust = Math.min(1, Math.max(least, (belief + this.#foretold) / (belief + this.#spread)));
    const kept = 1 - judgedAtOnce / judgedSamples;
    this.#spread *= kept;
    this.#foretold *= kept;
  }

  succeeded<V extends View>(member: AdaptiveMember<V>): void {
    if (this.#failureRate > leastFailureRate)
      this.#failureRate = Math.max(leastFailureRate, this.#failureRate * (1 - failureWeight));
    if (member.suspicion > 0) this.acquit(member);
  }

  /**
   * How likely it is that the backend is broken, rather than unlucky so many times in a row, given how often calls
   * fail anywhere (Bayes): certain at once where nothing else fails, never where everything does.
   */
  failed<V extends View>(member: AdaptiveMember<V>): void {
    const byChance = this.#failureRate ** member.failures;
    this.#failureRate += (1 - this.#failureRate) * failureWeight;
    if (member.suspicion === 0 && member.current) this.suspects++;
    member.suspicion = brokenRate / (brokenRate + byChance);
  }

  acquit<V extends View>(member: AdaptiveMember<V>): void {
    member.suspicion = 0;
    if (member.current) this.suspects--;
  }
}
