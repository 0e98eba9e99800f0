import type { Backend } from '../core/backend.ts';
import type { Balancer, Load } from '../core/balancer.ts';
import { type Random, systemRandom } from '../core/clock.ts';
import { checkOptions, func } from '../core/options.ts';
import { inflight } from './load.ts';
import { untriedFrom } from './untried.ts';

export interface PowerOfTwoOptions {
  /** What is compared; smaller is better. @default inflight() */
  readonly load?: Load;
  readonly random?: Random;
}

/**
 * The less loaded of two different backends drawn at random; weights are not looked at. A load function that
 * throws or does not return a number makes that backend the worse one.
 * Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
 *
 * @throws {TypeError | RangeError} for options that are wrong.
 */
export function powerOfTwo(options: PowerOfTwoOptions = {}): Balancer {
  checkOptions('powerOfTwo', { load: func, random: func }, options);
  const { load = inflight(), random = systemRandom } = options;

  const judge = (backend: Backend): number => {
    try {
      const value = load(backend);
      return typeof value !== 'number' || Number.isNaN(value) ? Number.POSITIVE_INFINITY : value;
    } catch {
      // A pick must not fail for a load function's bug; the other backend is taken instead.
      return Number.POSITIVE_INFINITY;
    }
  };

  return {
    pick(backends, { tried }) {
      const count = backends.length;
      if (count === 1) return backends[0];
      const first = (random() * count) | 0;
      const other = (random() * (count - 1)) | 0;
      const second = other < first ? other : other + 1;
      const a = untriedFrom(backends, first, tried);
      const b = untriedFrom(backends, second, tried);
      if (a === b) return a;
      return judge(b) < judge(a) ? b : a;
    },
  };
}
