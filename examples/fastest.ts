// A balancer of your own is one function. This one is tested in fastest.test.ts, without a network.
import type { Balancer } from 'steersman';

/** Always the backend with the lowest latency; those not measured yet come first. */
export const fastest: Balancer = {
  pick(backends, { tried }) {
    const untried = backends.filter((backend) => !tried?.has(backend));
    const candidates = untried.length > 0 ? untried : backends;
    return candidates.reduce((best, backend) =>
      (backend.latency ?? 0) < (best.latency ?? 0) ? backend : best,
    );
  },
};
