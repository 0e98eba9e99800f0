import type { Backend, Backends } from '../core/backend.ts';
import type { Random } from '../core/clock.ts';
import { Levels, topLevel } from './levels.ts';
import { untried } from './untried.ts';

/** The backends of a set by what they cost. All begin at a cost of 1. */
export interface Ranking {
  set(index: number, cost: number): void;
  /** The index of the cheapest that is not in `tried`, a random one among equals; -1 when all are. */
  cheapest(backends: Backends, tried: ReadonlySet<Backend> | undefined, random: Random): number;
}

/** Up to this many, looking at each is faster than keeping an index. */
const few = 4;

export function ranking(count: number): Ranking {
  return count <= few ? new Scan(count) : new Index(count);
}

class Scan implements Ranking {
  readonly #costs: Float64Array;

  constructor(count: number) {
    this.#costs = new Float64Array(count).fill(1);
  }

  set(index: number, cost: number): void {
    this.#costs[index] = cost;
  }

  cheapest(backends: Backends, tried: ReadonlySet<Backend> | undefined, random: Random): number {
    const costs = this.#costs;
    const count = costs.length;
    const skips = tried !== undefined && tried.size > 0;
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    let equals = 0;
    for (let index = 0; index < count; index++) {
      const cost = costs[index] as number;
      if (cost > least || (skips && tried.has(backends[index] as Backend))) continue;
      if (cost < least) {
        least = cost;
        best = index;
        equals = 1;
      } else {
        equals++;
      }
    }
    if (equals < 2) return best;
    // One random number decides among equals, however many there are.
    let skip = (random() * equals) | 0;
    for (let index = best; index < count; index++) {
      if (costs[index] !== least || (skips && tried.has(backends[index] as Backend))) continue;
      if (skip-- === 0) return index;
    }
    return best;
  }
}

/** The first bits of a double: its exponent, and five bits of its fraction. */
const bits = new Float64Array(1);
const words = new Int32Array(bits.buffer);
const highWord = new Uint8Array(Int16Array.of(1).buffer)[0] === 1 ? 1 : 0;
const fractionBits = 5;
/** 1,024 levels of 1/32 of a doubling hold any cost from 1/16 to 2²⁸; costs of one level count as equal. */
const leastExponent = 1_023 - 4;

function levelOf(cost: number): number {
  bits[0] = cost;
  const level = ((words[highWord] as number) >> (20 - fractionBits)) - (leastExponent << fractionBits);
  return level < 0 ? 0 : level > topLevel ? topLevel : level;
}

class Index implements Ranking {
  readonly #levels: Levels;

  constructor(count: number) {
    this.#levels = new Levels(count, levelOf(1));
  }

  set(index: number, cost: number): void {
    this.#levels.move(index, levelOf(cost));
  }

  cheapest(backends: Backends, tried: ReadonlySet<Backend> | undefined, random: Random): number {
    const levels = this.#levels;
    if (tried === undefined || tried.size === 0) return levels.draw(levels.lowest(), random);
    return levels.find(random, untried(backends, tried));
  }
}
