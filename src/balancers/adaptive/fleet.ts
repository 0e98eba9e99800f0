import type { View } from '../roster.ts';
import type { AdaptiveMember } from './member.ts';

/** Weight of one call in what is usual for the fleet; the first ones count equally. */
const unitWeight = 0.02;
const failureWeight = 0.005;
/** Whether answers foretell the next ones is judged by about so many, the latest ones, anew after each few of them … */
const judgedSamples = 2_000;
const judgedAtOnce = 16;
/** … against the prior belief that they do not, worth a spread of so much, and by one standard error less than it seems. */
const doubt = 5;
const variance = 0.5;
/** Small differences are believed by so many times that slope, up to wholly. */
const credit = 8;
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
  /** By how much small differences between the backends are to be believed, of 1. */
  trust = 0;
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
   * Takes by how much an answer made one expect more than the usual of the next, and by how much that was more: the
   * slope of the regression tells whether calls meet queues, or unlike backends, or only chance.
   */
  judge(expected: number, excess: number): void {
    this.#spread += expected * expected;
    this.#foretold += expected * excess;
    if (++this.#judged % judgedAtOnce === 0) this.#conclude();
  }

  #conclude(): void {
    const surely = this.#foretold - Math.sqrt(variance * this.#spread);
    this.trust = Math.min(1, Math.max(0, (credit * surely) / (doubt + this.#spread)));
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
