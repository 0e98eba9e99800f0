import type { Random } from '../core/clock.ts';

/**
 * Items 0 … n−1, each with a small whole number that goes up and down by one: a change and drawing one of the
 * least cost the same for any n. All items stand in one array, sorted by number, of which the ends of equal runs are
 * known; going up or down by one is a swap with the end of a run.
 */
export class Counts {
  readonly #count: Int32Array;
  readonly #order: Int32Array;
  readonly #place: Int32Array;
  /** How many items have at most each number. */
  #ends: Int32Array;

  /** All items begin at 0. */
  constructor(size: number) {
    this.#count = new Int32Array(size);
    this.#order = Int32Array.from(this.#count, (_, i) => i);
    this.#place = this.#order.slice();
    this.#ends = new Int32Array(16).fill(size);
  }

  set(item: number, count: number): void {
    if (count >= this.#ends.length) this.#grow(count);
    const ends = this.#ends;
    let now = this.#count[item] as number;
    while (now !== count) {
      const place = now < count ? --(ends[now++] as number) : (ends[--now] as number)++;
      const from = this.#place[item] as number;
      const other = this.#order[place] as number;
      this.#order[from] = other;
      this.#place[other] = from;
      this.#order[place] = item;
      this.#place[item] = place;
    }
    this.#count[item] = count;
  }

  get(item: number): number {
    return this.#count[item] as number;
  }

  /** One of those with the least number, all equally likely. */
  least(random: Random): number {
    const order = this.#order;
    const ties = this.#ends[this.#count[order[0] as number] as number] as number;
    return order[ties === 1 ? 0 : (random() * ties) | 0] as number;
  }

  /** One of those with the least number that will do, from a random one on; -1 when none will. */
  find(random: Random, willDo: (item: number) => boolean): number {
    const order = this.#order;
    for (let start = 0; start < order.length; ) {
      const end = this.#ends[this.#count[order[start] as number] as number] as number;
      const ties = end - start;
      const first = (random() * ties) | 0;
      for (let step = 0; step < ties; step++) {
        const item = order[start + ((first + step) % ties)] as number;
        if (willDo(item)) return item;
      }
      start = end;
    }
    return -1;
  }

  #grow(count: number): void {
    const ends = new Int32Array(2 ** Math.ceil(Math.log2(count + 1))).fill(this.#order.length);
    ends.set(this.#ends);
    this.#ends = ends;
  }
}
