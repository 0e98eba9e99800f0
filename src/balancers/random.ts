import type { Balancer } from '../core/balancer.ts';
import { type Random, systemRandom } from '../core/clock.ts';
import { checkOptions, func } from '../core/options.ts';
import { untriedFrom } from './untried.ts';

export interface RandomOptions {
  readonly random?: Random;
}

/** Any backend, all equally likely; weights are not looked at. */
export function random(options: RandomOptions = {}): Balancer {
  checkOptions('random', { random: func }, options);
  const { random: draw = systemRandom } = options;
  return {
    pick: (backends, { tried }) => untriedFrom(backends, (draw() * backends.length) | 0, tried),
  };
}
