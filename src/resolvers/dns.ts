import { isIP } from 'node:net';
import { addressOf, type Endpoint } from '../core/endpoint.ts';
import { ResolveError } from '../core/errors.ts';
import type { Resolver } from '../core/resolver.ts';
import { checkHost } from '../core/target.ts';
import { canonicalAddress } from './address.ts';
import { Addresses } from './dns/addresses.ts';
import { lastGood } from './dns/last-good.ts';
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
  const hosts = new Shared<string>((host, report) => {
    const addresses = new Addresses(host, settings, report.error);
    return lastGood((signal) => addresses.find(signal), report, {
      clock,
      random,
      minTtl,
      maxTtl,
      maxStale,
      same: sameStrings,
      expired: (cause) =>
        new ResolveError(`${host} has not been resolved for ${maxStale} ms: its set is dropped`, host, {
          cause,
        }),
    });
  });

  return {
    watch(target, listener) {
      const port = dialledPort(target, 'dns:');
      const toEndpoint = (address: string): Endpoint => ({ id: addressOf(address, port), address, port });
      const own = ownAddresses(target.host, settings.families);
      if (own !== undefined) return once(() => listener.onEndpoints(own.map(toEndpoint), { source: 'dns' }));
      return hosts.watch(hostKey(target.host), {
        items: (addresses, ttl) => listener.onEndpoints(addresses.map(toEndpoint), { source: 'dns', ttl }),
        error: (error) => listener.onError(error),
      });
    },
  };
}

/** The addresses of hosts that need no DNS: IP addresses, and `localhost` (RFC 6761 §6.3). */
function ownAddresses(host: string, families: readonly (4 | 6)[]): readonly string[] | undefined {
  const bare = host.replace(/^\[|\]$/g, '');
  if (isIP(bare) !== 0) return [canonicalAddress(bare)];
  if (!/(?:^|\.)localhost\.?$/i.test(host)) return undefined;
  return families.map((family) => (family === 4 ? '127.0.0.1' : '::1'));
}

/** The host as it is looked up: checked, in lower case; a trailing dot stays, since it means that no search is wanted. */
function hostKey(host: string): string {
  const name = checkHost(host);
  return host.endsWith('.') ? `${name}.` : name;
}

function sameStrings(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
