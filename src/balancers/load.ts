import type { Backend } from '../core/backend.ts';
import type { Load } from '../core/balancer.ts';
import { type Clock, systemClock } from '../core/clock.ts';
import { checkOptions, implementing } from '../core/options.ts';

/** The calls a backend has in flight from here. */
export function inflight(): Load {
  return (backend) => backend.inflight;
}

export interface PeakEwmaOptions {
  readonly clock?: Clock;
}

/** Finagle's and linkerd's time constant, in ms. */
const decayTime = 10_000;
/** What an unmeasured backend is taken for while no other has been measured, in ms: linkerd's default. */
const unmeasured = 30;
/** Weight of one look at a backend in the latency that unmeasured ones are taken for. */
const typicalWeight = 0.01;

/**
 * Decaying peak latency times the calls in flight, this one included: Finagle's `PeakEwma`
 * (https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/loadbalancer/PeakEwma.scala).
 * A peak is forgotten with a time constant of 10 s also while the backend gets no calls, so that a recovered one
 * is tried again. A backend that has not answered yet counts as slow as the others are on average.
 */
export function peakEwma(options: PeakEwmaOptions = {}): Load {
  checkOptions('peakEwma', { clock: implementing('a Clock', 'now', 'schedule') }, options);
  const { clock = systemClock } = options;
  const peaks = new WeakMap<Backend, { latency: number; since: number }>();
  let typical: number | undefined;
  return (backend) => {
    const { latency, inflight } = backend;
    if (latency === undefined) return (typical ?? unmeasured) * (inflight + 1);
    const now = clock.now();
    let peak = peaks.get(backend);
    if (peak === undefined) peaks.set(backend, (peak = { latency, since: now }));
    if (peak.latency !== latency) {
      peak.latency = latency;
      peak.since = now;
    }
    const current = latency * Math.exp((peak.since - now) / decayTime);
    typical = typical === undefined ? current : typical + (current - typical) * typicalWeight;
    return current * (inflight + 1);
  };
}
