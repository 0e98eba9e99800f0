import { performance } from 'node:perf_hooks';
import { systemClock } from '../../core/clock.ts';
import type { Place } from './place.ts';
import { tellsStatus } from './platform.ts';

/**
 * What the performance timeline says of one fetch, redirects included: the entry that the platform's fetch makes when
 * the body of a response has ended, in whatever way, or when there is none. https://w3c.github.io/resource-timing/
 */
export class Timing {
  readonly #place: Place;
  readonly #start: number = systemClock.now();
  #redirectedAt = 0;
  #responseStart = 0;
  /** Bytes received, redirects' included, and bytes read. */
  received = 0;
  read = 0;
  #reported = false;

  constructor(place: Place) {
    this.#place = place;
  }

  redirected(): void {
    this.#redirectedAt = systemClock.now();
  }

  responded(): void {
    this.#responseStart = systemClock.now();
  }

  /** Only the first call counts. `status`: 0 where there was no answer. */
  report(status: number): void {
    if (this.#reported) return;
    this.#reported = true;
    const start = this.#start;
    const redirected = this.#redirectedAt;
    const begun = redirected || start;
    const info = {
      startTime: start,
      redirectStartTime: redirected === 0 ? 0 : start,
      redirectEndTime: redirected,
      postRedirectStartTime: begun,
      finalServiceWorkerStartTime: 0,
      finalNetworkRequestStartTime: begun,
      finalNetworkResponseStartTime: this.#responseStart,
      endTime: systemClock.now(),
      encodedBodySize: this.received,
      decodedBodySize: this.read,
      // The platform does not tell them either.
      finalConnectionTimingInfo: {
        domainLookupStartTime: begun,
        domainLookupEndTime: begun,
        connectionStartTime: begun,
        connectionEndTime: begun,
        secureConnectionStartTime: begun,
        ALPNNegotiatedProtocol: undefined,
      },
    };
    const told = tellsStatus ? status : (undefined as never);
    performance.markResourceTiming(info, this.#place.whole, 'fetch', globalThis, '', {}, told, '');
  }
}
