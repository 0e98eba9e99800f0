import { type Clock, systemClock } from './clock.ts';
import type { Endpoint } from './endpoint.ts';
import { isFailure, type Outcome } from './outcome.ts';

/** A live endpoint: the address plus what this process has learned by using it. Read-only to plug-ins. */
export interface Backend {
  readonly endpoint: Endpoint;
  /** Uses of this backend that have begun and not ended: calls, upgraded connections, leases. */
  readonly inflight: number;
  /** ms, decaying peak; undefined before the first response */
  readonly latency: number | undefined;
  /** ms since this process first saw the endpoint */
  readonly age: number;
}

/** Non-empty by type. */
export type Backends = readonly [Backend, ...Backend[]];

/** How fast the peak forgets: Finagle's and linkerd's default. */
const latencyDecay = 10_000;

/**
 * The accounting behind a `Backend`, shared by the client and the simulator.
 *
 * Latency is Finagle's peak EWMA: a slower response raises it at once, faster ones lower it with a time
 * constant of 10 s. Only successful responses lower it, so that failing fast does not look fast.
 */
export class BackendStats implements Backend {
  readonly #clock: Clock;
  readonly #born: number;
  #endpoint: Endpoint;
  #inflight = 0;
  #latency: number | undefined;
  #measured = 0;

  constructor(endpoint: Endpoint, clock: Clock = systemClock) {
    this.#endpoint = endpoint;
    this.#clock = clock;
    this.#born = clock.now();
  }

  get endpoint(): Endpoint {
    return this.#endpoint;
  }

  /** The same endpoint told anew, e.g. with another weight. */
  set endpoint(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  get inflight(): number {
    return this.#inflight;
  }

  get latency(): number | undefined {
    return this.#latency;
  }

  get age(): number {
    return this.#clock.now() - this.#born;
  }

  begin(): void {
    this.#inflight++;
  }

  end(outcome: Outcome): void {
    this.#inflight--;
    if (outcome.kind === 'cancelled') return;
    const { latency } = outcome;
    const now = this.#clock.now();
    const known = this.#latency;
    if (known === undefined) {
      if (isFailure(outcome)) return;
      this.#latency = latency;
    } else if (latency >= known) {
      this.#latency = latency;
    } else {
      if (isFailure(outcome)) return;
      const keep = Math.exp((this.#measured - now) / latencyDecay);
      this.#latency = known * keep + latency * (1 - keep);
    }
    this.#measured = now;
  }
}
