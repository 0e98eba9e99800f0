import type { Random } from '../core/clock.ts';

/** 32 words of 32 bits, so that one word can say which of them are in use. */
const levelCount = 1_024;

/** The highest level; whatever is more counts as equal. */
export const topLevel: number = levelCount - 1;

/**
 * Items 0 … n−1, each at a level: moving one and drawing one of the lowest at random cost the same for any n.
 * An occupancy bitmap finds the lowest level that has items; each level holds its items in no order.
 */
export class Levels {
  readonly #level: Uint16Array;
  readonly #place: Int32Array;
  readonly #items: (Int32Array | undefined)[] = new Array(levelCount);
  readonly #sizes = new Int32Array(levelCount);
  readonly #words = new Int32Array(32);
  #summary = 0;

  /** All items begin at one level. */
  constructor(count: number, level = 0) {
    this.#level = new Uint16Array(count).fill(level);
    this.#place = new Int32Array(count);
    const items = new Int32Array(count);
    for (let item = 0; item < count; item++) items[item] = this.#place[item] = item;
    this.#items[level] = items;
    this.#sizes[level] = count;
    this.#occupy(level);
  }

  level(item: number): number {
    return this.#level[item] as number;
  }

  move(item: number, level: number): void {
    const from = this.#level[item] as number;
    if (from === level) return;
    const places = this.#place;
    const sizes = this.#sizes;
    const left = this.#items[from] as Int32Array;
    const last = --(sizes[from] as number);
    const place = places[item] as number;
    const moved = left[last] as number;
    left[place] = moved;
    places[moved] = place;
    if (last === 0) this.#vacate(from);
    const size = (sizes[level] as number)++;
    let items = this.#items[level];
    if (items === undefined || size === items.length) items = this.#grow(level, size);
    items[size] = item;
    places[item] = size;
    this.#level[item] = level;
    if (size === 0) this.#occupy(level);
  }

  /** The lowest level that has items. */
  lowest(): number {
    const word = lowestBit(this.#summary);
    return (word << 5) | lowestBit(this.#words[word] as number);
  }

  /** One of the items at a level, all equally likely. */
  draw(level: number, random: Random): number {
    const size = this.#sizes[level] as number;
    return (this.#items[level] as Int32Array)[size === 1 ? 0 : (random() * size) | 0] as number;
  }

  /** One of the lowest items that will do, starting at a random one of each level; -1 when none will. */
  find(random: Random, willDo: (item: number) => boolean): number {
    for (let level = this.lowest(); level < levelCount; level++) {
      const size = this.#sizes[level] as number;
      if (size === 0) continue;
      const items = this.#items[level] as Int32Array;
      const start = (random() * size) | 0;
      for (let step = 0; step < size; step++) {
        const item = items[(start + step) % size] as number;
        if (willDo(item)) return item;
      }
    }
    return -1;
  }

  #vacate(level: number): void {
    const word = level >> 5;
    this.#words[word] = (this.#words[word] as number) & ~(1 << (level & 31));
    if (this.#words[word] === 0) this.#summary &= ~(1 << word);
  }

  #occupy(level: number): void {
    const word = level >> 5;
    this.#words[word] = (this.#words[word] as number) | (1 << (level & 31));
    this.#summary |= 1 << word;
  }

  #grow(level: number, size: number): Int32Array {
    const items = new Int32Array(Math.max(4, size * 2));
    const before = this.#items[level];
    if (before !== undefined) items.set(before);
    return (this.#items[level] = items);
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
