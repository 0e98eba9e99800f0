import { adaptive } from '../../src/balancers/adaptive.ts';
import { consistentHash } from '../../src/balancers/consistent-hash.ts';
import { leastConnection } from '../../src/balancers/least-connection.ts';
import { peakEwma } from '../../src/balancers/load.ts';
import { powerOfTwo } from '../../src/balancers/power-of-two.ts';
import { random } from '../../src/balancers/random.ts';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import { weightedRoundRobin } from '../../src/balancers/weighted-round-robin.ts';
import { zoneAware } from '../../src/balancers/zone-aware.ts';
import type { Policy } from '../../src/testing/simulate.ts';

/** Every balancer of the library, on the clock and the chance it is given. */
export const balancers: Readonly<Record<string, Policy>> = {
  adaptive: ({ clock, random }) => adaptive({ clock, random }),
  roundRobin: ({ random }) => roundRobin({ random }),
  weightedRoundRobin: ({ random }) => weightedRoundRobin({ random }),
  random: (context) => random({ random: context.random }),
  leastConnection: ({ random }) => leastConnection({ random }),
  powerOfTwo: ({ random }) => powerOfTwo({ random }),
  'powerOfTwo by peakEwma': ({ clock, random }) => powerOfTwo({ random, load: peakEwma({ clock }) }),
  consistentHash: ({ random }) => consistentHash({ random }),
  'consistentHash with a bound': ({ random }) => consistentHash({ random, boundedLoad: 1.25 }),
  'zoneAware adaptive': ({ clock, random, zone }) =>
    zoneAware(adaptive({ clock, random }), { zone: zone ?? 'a', random }),
};
