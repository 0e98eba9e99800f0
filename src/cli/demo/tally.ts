/** ms over which "now" is taken, for figures that change as one watches. */
const recently = 3_000;

interface Sample {
  readonly at: number;
  readonly ms: number;
}

/** Counts the calls of one kind: to one pod, in one act, or all. */
export class Tally {
  calls = 0;
  failed = 0;
  readonly #all: number[] = [];
  #recent: Sample[] = [];

  add(at: number, ms: number, failed: boolean): void {
    this.calls++;
    if (failed) this.failed++;
    this.#all.push(ms);
    this.#recent.push({ at, ms });
  }

  /** ms below which this share of all calls stayed; undefined without calls. */
  quantile(share: number): number | undefined {
    return quantile(this.#all, share);
  }

  /** The same for the last seconds. */
  recentQuantile(now: number, share: number): number | undefined {
    this.#recent = this.#recent.filter(({ at }) => at > now - recently);
    return quantile(
      this.#recent.map(({ ms }) => ms),
      share,
    );
  }
}

function quantile(values: readonly number[], share: number): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** How uneven calls are spread: the busiest pod's share over a fair share, 1 when all have the same. */
export function spread(calls: readonly number[]): number | undefined {
  const sum = calls.reduce((a, b) => a + b, 0);
  return sum === 0 ? undefined : (Math.max(...calls) * calls.length) / sum;
}
