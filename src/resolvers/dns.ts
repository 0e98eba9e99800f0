import { addressOf, type Endpoint } from '../core/endpoint.ts';
import type { Resolver, Watch } from '../core/resolver.ts';
import { Addresses } from './dns/addresses.ts';
import { expired } from './dns/describe.ts';
import { hostKey, ownAddresses } from './dns/host.ts';
import { lastGood, type Report } from './dns/last-good.ts';
import { type DnsOptions, dnsSettings } from './dns/options.ts';
import { Shared } from './dns/shared.ts';
import { once } from './once.ts';
import { dialledPort } from './port.ts';

export type { DnsOptions } from './dns/options.ts';

/**
 * A and AAAA records: each address is an endpoint, at the target's port (80 or 443 where it has none). For headless
 * Services, whose name has one address per ready pod, and for everything outside a cluster. The name of a Service
 * with a ClusterIP has that one address.
 *
 * Asks through c-ares, never through the thread pool's `getaddrinfo`, with search domains and `ndots` of its own:
 * one A and one AAAA question per round, the next round when the TTL (within `minTtl` and `maxTtl`) has passed and
 * up to a tenth more, or a second after the last one when connections fail. Failures keep the last good set for
 * `maxStale`; that a name has nothing is believed when told twice, a second apart. A pod that is gone is noticed
 * after at most 1.1 × TTL, and what caches on the way add.
 *
 * @throws {TypeError | RangeError} for options that are wrong; from `watch` for a host that cannot be a name, and
 * for a port that is only a name.
 */
export function dns(options: DnsOptions = {}): Resolver {
  const settings = dnsSettings('dns', options);
  const { clock, random, minTtl, maxTtl, maxStale } = settings;
  const shared = new Shared<string>();
  const open =
    (host: string) =>
    (report: Report<string>): Watch => {
      const addresses = new Addresses(host, settings, report.error);
      return lastGood((signal) => addresses.find(signal), report, {
        clock,
        random,
        minTtl,
        maxTtl,
        maxStale,
        same: sameStrings,
        expired: (cause) => expired(host, maxStale, cause),
      });
    };

  return {
    watch(target, listener) {
      const port = dialledPort(target, 'dns:');
      const toEndpoint = (address: string): Endpoint => ({ id: addressOf(address, port), address, port });
      const own = ownAddresses(target.host, settings.families);
      if (own !== undefined) return once(() => listener.onEndpoints(own.map(toEndpoint), { source: 'dns' }));
      const host = hostKey(target.host);
      return shared.watch(host, open(host), {
        items: (addresses, ttl, note) =>
          listener.onEndpoints(addresses.map(toEndpoint), {
            source: 'dns',
            ttl,
            ...(note !== undefined && { note }),
          }),
        error: (error) => listener.onError(error),
      });
    },
  };
}

function sameStrings(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
