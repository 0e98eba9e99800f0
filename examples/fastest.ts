// A balancer of your own is one function. This one is tested in fastest.test.ts, without a network.
import type { Backend, Balancer } from 'steersman';

/** The backend that would be done first: latency × calls. One that is not measured yet counts as fast, but not as free. */
export const fastest: Balancer = {
  pick(backends, { tried }) {
    const wait = (backend: Backend) =>
      tried?.has(backend) ? Number.POSITIVE_INFINITY : (backend.latency ?? 1) * (backend.inflight + 1);
    return backends.reduce((best, backend) => (wait(backend) < wait(best) ? backend : best));
  },
};
