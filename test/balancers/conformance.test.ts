import { describe, it } from 'vitest';
import type { Balancer } from '../../src/index.ts';
import {
  adaptive,
  consistentHash,
  leastConnection,
  peakEwma,
  powerOfTwo,
  random,
  roundRobin,
  weightedRoundRobin,
} from '../../src/index.ts';
import { type BalancerContext, balancerSuite } from '../../src/testing/index.ts';

const balancers: Readonly<Record<string, (context: BalancerContext) => Balancer>> = {
  adaptive: ({ clock, random }) => adaptive({ clock, random }),
  roundRobin: ({ random }) => roundRobin({ random }),
  weightedRoundRobin: ({ random }) => weightedRoundRobin({ random }),
  random: (context) => random({ random: context.random }),
  leastConnection: ({ random }) => leastConnection({ random }),
  powerOfTwo: ({ random }) => powerOfTwo({ random }),
  'powerOfTwo by peakEwma': ({ clock, random }) => powerOfTwo({ random, load: peakEwma({ clock }) }),
  consistentHash: ({ random }) => consistentHash({ random }),
  'consistentHash with a bound': ({ random }) => consistentHash({ random, boundedLoad: 1.25 }),
};

for (const [name, make] of Object.entries(balancers)) {
  describe(name, () => balancerSuite(make, { describe, it }));
}
