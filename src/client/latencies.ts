/** Buckets are this much wider each: percentiles are exact to 10 %. */
const growth = 1.1;
const scale = 1 / Math.log(growth);
/** Up to 1.1^150 × 0.1 ms: about 160 s. */
const bucketCount = 150;
const smallest = 0.1;
/** ms of one half of the window. */
const half = 10_000;
/** A percentile of fewer says nothing. */
const least = 100;

/** How long the answers of the last 10 to 20 s took: a histogram with logarithmic buckets, in two halves. */
export class Latencies {
  #now: Uint32Array = new Uint32Array(bucketCount);
  #before: Uint32Array = new Uint32Array(bucketCount);
  #since = 0;

  /** Notes an answer that took `latency` ms, at `now`. */
  note(latency: number, now: number): void {
    this.#turn(now);
    const at = latency <= smallest ? 0 : Math.ceil(Math.log(latency / smallest) * scale);
    const bucket = Math.min(at, bucketCount - 1);
    this.#now[bucket] = (this.#now[bucket] as number) + 1;
  }

  /** ms that this share of the answers, 0 to 1, took at most; undefined while too few are known. */
  percentile(share: number, now: number): number | undefined {
    this.#turn(now);
    let total = 0;
    for (let i = 0; i < bucketCount; i++) total += this.#in(i);
    if (total < least) return undefined;
    const wanted = total * share;
    let seen = 0;
    for (let i = 0; i < bucketCount; i++) {
      seen += this.#in(i);
      if (seen >= wanted) return smallest * growth ** i;
    }
    return undefined;
  }

  #in(bucket: number): number {
    return (this.#now[bucket] as number) + (this.#before[bucket] as number);
  }

  #turn(now: number): void {
    const elapsed = now - this.#since;
    if (elapsed < half) return;
    this.#since = now;
    if (elapsed < 2 * half) {
      [this.#before, this.#now] = [this.#now, this.#before];
    } else {
      this.#before.fill(0);
    }
    this.#now.fill(0);
  }
}
