import type { Backend } from '../core/backend.ts';
import type { Balancer } from '../core/balancer.ts';
import { type Random, systemRandom } from '../core/clock.ts';
import { checkOptions, func } from '../core/options.ts';

export interface LeastConnectionOptions {
  readonly random?: Random;
}

/** The backend with the fewest calls in flight from here, a random one among equals. */
export function leastConnection(options: LeastConnectionOptions = {}): Balancer {
  checkOptions('leastConnection', { random: func }, options);
  const { random = systemRandom } = options;
  return {
    pick(backends, { tried }) {
      let best: Backend | undefined;
      let fewest = Number.POSITIVE_INFINITY;
      let equals = 0;
      for (const backend of backends) {
        if (tried?.has(backend)) continue;
        const { inflight } = backend;
        if (inflight > fewest) continue;
        equals = inflight === fewest ? equals + 1 : 1;
        fewest = inflight;
        if (equals === 1 || random() * equals < 1) best = backend;
      }
      return best ?? (backends[(random() * backends.length) | 0] as Backend);
    },
  };
}
