import { type Endpoint, sameEndpoints } from '../core/endpoint.ts';
import { type Check, oneOf, string } from '../core/options.ts';
import type { Resolver, Watch } from '../core/resolver.ts';
import { checkHost, isLabel, portNumber, type Target } from '../core/target.ts';
import { expired } from './dns/describe.ts';
import { hostKey, ownAddresses } from './dns/host.ts';
import { lastGood, type Report } from './dns/last-good.ts';
import { type DnsOptions, dnsSettings, dnsShape } from './dns/options.ts';
import { Services } from './dns/services.ts';
import { Shared } from './dns/shared.ts';
import { dns } from './dns.ts';

export interface DnsSrvOptions extends DnsOptions {
  /** The port's name where the target has a number or none. @default 'http' or 'https', as the target's protocol */
  readonly portName?: string;
  /** @default 'tcp' */
  readonly protocol?: 'tcp' | 'udp';
}

const portLabel: Check = (value, name) => {
  string(value, name);
  if (!isLabel((value as string).toLowerCase()))
    throw new TypeError(
      `option ${name} must be the name of a port, got ${JSON.stringify((value as string).slice(0, 80))}`,
    );
};

/**
 * SRV records (RFC 2782), `_http._tcp.orders.shop`: ports and weights from the record. The lowest priority whose
 * targets have addresses serves, so that higher ones are its backup. A host that starts with an underscore is the
 * record's whole name. Where a target asks by number and there is no such record (in Kubernetes only ports with a
 * name have one), its addresses are used at that number, with a `DiscoveryWarning`.
 *
 * All that is said of `dns()` holds here too. Node does not tell the TTL of SRV records, nor the addresses that
 * servers send along with them: rounds follow the TTL of the targets' addresses, which are looked up eight at a
 * time, or with one question for a Kubernetes Service whose records are all alike.
 *
 * @throws {TypeError | RangeError} for options that are wrong; from `watch` for a host that cannot be a name.
 */
export function dnsSrv(options: DnsSrvOptions = {}): Resolver {
  const shape = { ...dnsShape, portName: portLabel, protocol: oneOf('tcp', 'udp') };
  const settings = dnsSettings('dnsSrv', options, shape);
  const { portName, protocol = 'tcp', ...rest } = options;
  const { clock, random, minTtl, maxTtl, maxStale, families } = settings;
  const plain = dns(rest);
  const shared = new Shared<Endpoint>();
  const open =
    (prefix: string, host: string, port: number | undefined) =>
    (report: Report<Endpoint>): Watch => {
      const services = new Services(prefix, host, port, settings, report.error);
      return lastGood((signal, hinted) => services.find(signal, hinted), report, {
        clock,
        random,
        minTtl,
        maxTtl,
        maxStale,
        same: sameEndpoints,
        expired: (cause) => expired(`${prefix}.${host}`, maxStale, cause),
      });
    };

  return {
    watch(target, listener) {
      if (ownAddresses(target.host, families) !== undefined) return plain.watch(target, listener);
      const { prefix, host, port } = questionOf(target, portName, protocol);
      checkHost(`${prefix}.${host}`, 'SRV name');
      return shared.watch(`${prefix} ${host} ${port}`, open(prefix, host, port), {
        items: (endpoints, ttl, note) =>
          listener.onEndpoints(endpoints, { source: 'dns-srv', ttl, ...(note !== undefined && { note }) }),
        error: (error) => listener.onError(error),
      });
    },
  };
}

/** What to ask for, and the port to dial by address where there is no such record: none when the port is a name. */
function questionOf(
  target: Target,
  portName: string | undefined,
  protocol: string,
): { readonly prefix: string; readonly host: string; readonly port: number | undefined } {
  const host = hostKey(target.host);
  const [, prefix, rest] = /^(_[^.]+\._[^.]+)\.(.+)$/.exec(host) ?? [];
  if (prefix !== undefined && rest !== undefined) return { prefix, host: rest, port: undefined };
  if (typeof target.port === 'string')
    return { prefix: `_${target.port}._${protocol}`, host, port: undefined };
  const name = portName ?? target.protocol.replace(':', '');
  return { prefix: `_${name}._${protocol}`, host, port: portNumber(target) };
}
