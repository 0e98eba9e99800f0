import type { Scenario } from './scenario.ts';

/** Usual troubles, to begin with; the times fit the default rate and 100,000 calls. */
export const scenarios: Readonly<Record<string, Scenario>> = {
  equal: {},
  bimodal: { service: { kind: 'bimodal', mean: 10 } },
  pareto: { service: { kind: 'pareto', mean: 10 } },
  unequal: { speeds: [1, 3, 1.7] },
  stall: { happenings: [{ kind: 'stall', at: 60_000, pods: [0], duration: 2_000 }] },
  blackhole: { happenings: [{ kind: 'failFast', at: 30_000, pods: [0], duration: 60_000 }] },
  slow: { happenings: [{ kind: 'speed', at: 30_000, pods: [0], duration: 60_000, speed: 0.1 }] },
  cold: { happenings: [{ kind: 'join', at: 60_000, count: 3, coldFor: 5_000 }] },
  restart: {
    discoveryDelay: 500,
    happenings: [{ kind: 'rollingRestart', at: 30_000, every: 5_000, coldFor: 2_000 }],
  },
  crash: { discoveryDelay: 500, happenings: [{ kind: 'leave', at: 60_000, pods: [0], abrupt: true }] },
  scale: { utilisation: 0.9, happenings: [{ kind: 'join', at: 60_000, count: 5 }] },
  pause: { happenings: [{ kind: 'pause', at: 60_000, clients: [0, 1, 2], duration: 200 }] },
};
