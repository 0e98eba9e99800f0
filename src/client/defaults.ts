import { isDeepStrictEqual } from 'node:util';
import { adaptive } from '../balancers/adaptive.ts';
import { systemClock, systemRandom } from '../core/clock.ts';
import type { Target } from '../core/target.ts';
import { auto } from '../resolvers/auto.ts';
import { existence } from '../resolvers/dns/existence.ts';
import { isInCluster } from '../resolvers/kubernetes/in-cluster.ts';
import { clusterNames } from '../resolvers/kubernetes/namespace.ts';
import type { ServiceOptions } from './options.ts';
import { poolTransport } from './pool.ts';
import type { Lookup } from './routing.ts';
import { Service, type ServiceParts } from './service.ts';
import { settingsOf } from './settings.ts';

/**
 * Where the parts of a service come from: the only place where the client meets the resolvers and balancers of this
 * library.
 */
function partsOf(options: ServiceOptions): ServiceParts {
  const { clock = systemClock, random = systemRandom, timeout = {}, pool = {}, tls } = options;
  const settings = settingsOf(options);
  return {
    resolver: options.resolver ?? auto({ clock, random }),
    balancer: options.balancer ?? adaptive({ clock, random }),
    transport:
      options.transport ??
      poolTransport({
        ...pool,
        ...(tls === undefined ? {} : { tls }),
        connectTimeout: timeout.connect ?? settings.connect,
        idleTimeout: settings.idle,
        clock,
        random,
      }),
    settings,
    clock,
    random,
    wallClock: Date.now,
  };
}

/** The service of a target. `origin` is what its calls are addressed to. */
export function makeService(target: Target, origin: string, options: ServiceOptions): Service {
  const { protocol } = target;
  const servername = options.tls?.servername ?? target.host;
  const service = new Service(target, { origin, protocol, servername }, partsOf(options));
  made.set(service, options);
  return service;
}

const made = new WeakMap<Service, ServiceOptions>();

/** Takes new options for a running service; parts whose options have not changed are kept, with what they learned. */
export function updateService(service: Service, options: ServiceOptions): void {
  const before = made.get(service) ?? {};
  const { servername = service.identity.servername } = options.tls ?? {};
  if (servername !== service.identity.servername) {
    throw new TypeError('option tls.servername of a running client cannot be changed');
  }
  made.set(service, options);
  const parts = partsOf(options);
  const kept = service.parts;
  // By what they say: files that are read again mostly say the same.
  const same = (group: 'pool' | 'tls' | 'timeout'): boolean =>
    isDeepStrictEqual(before[group], options[group]);
  const sameTransport =
    before.transport === options.transport && same('pool') && same('tls') && same('timeout');
  service.update({
    ...parts,
    resolver: before.resolver === options.resolver ? kept.resolver : parts.resolver,
    balancer: before.balancer === options.balancer ? kept.balancer : parts.balancer,
    transport: sameTransport ? kept.transport : parts.transport,
    clock: kept.clock,
    random: kept.random,
  });
}

/** What the process knows of its surroundings. */
export interface Environment {
  readonly inCluster: boolean;
  readonly clusterDomain: string;
  readonly lookup: Lookup;
  now(): number;
}

export function environment(): Environment {
  return {
    inCluster: isInCluster(),
    clusterDomain: clusterNames().domain,
    now: () => systemClock.now(),
    lookup: existence(),
  };
}
