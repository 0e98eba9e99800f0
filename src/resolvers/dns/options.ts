import { type Clock, type Random, systemClock, systemRandom } from '../../core/clock.ts';
import {
  arrayOf,
  boolean,
  type Check,
  checkOptions,
  duration,
  func,
  implementing,
  integer,
  number,
  oneOf,
  type Shape,
  string,
} from '../../core/options.ts';
import { hostProblem } from '../../core/target.ts';
import { checkNameserver } from './nameservers.ts';
import { type AddressPolicy, addressPolicy } from './policy.ts';
import { bareDomain, type DnsConfig, DnsConfigSource } from './resolv-conf.ts';

export interface DnsOptions {
  /** Which addresses to ask for: A, AAAA or both. @default 'both' */
  readonly family?: 4 | 6 | 'both';
  /** Nameservers as `ip` or `ip:port`, in order of preference. @default those of `resolvConf` */
  readonly servers?: readonly string[];
  /** Domains to complete relative names with. @default those of `resolvConf` */
  readonly search?: readonly string[];
  /** A name with fewer dots is tried in the search domains first; 0 to 15. @default that of `resolvConf`, or 1 */
  readonly ndots?: number;
  /** The file to read the three above from; read again each minute and after failures. @default '/etc/resolv.conf' */
  readonly resolvConf?: string;
  /** ms between two rounds at least, whatever the TTL. @default 1_000, or `maxTtl` where that is less */
  readonly minTtl?: number;
  /** ms between two rounds at most, but for jitter, whatever the TTL, and while nothing is there. @default 30_000, or `minTtl` where that is more */
  readonly maxTtl?: number;
  /** ms a set outlives the last good answer while DNS fails; `Infinity` for no end. @default 300_000 */
  readonly maxStale?: number;
  /** ms a round of questions may take in all. @default 2_000 */
  readonly deadline?: number;
  /** Whether to look into a hosts file first: `/etc/hosts`, or the path given. @default false */
  readonly hosts?: boolean | string;
  /** Whether answers may name loopback addresses. @default false */
  readonly allowLoopback?: boolean;
  /** CIDR blocks: when given, exactly the addresses inside are taken, whatever kind they are. */
  readonly allow?: readonly string[];
  readonly clock?: Clock;
  readonly random?: Random;
}

/** The options with their defaults, checked. */
export interface DnsSettings {
  readonly families: readonly (4 | 6)[];
  readonly config: DnsConfigSource;
  readonly minTtl: number;
  readonly maxTtl: number;
  readonly maxStale: number;
  readonly deadline: number;
  /** Path of the hosts file to look into. */
  readonly hosts: string | undefined;
  readonly accepts: AddressPolicy;
  readonly clock: Clock;
  readonly random: Random;
}

const nameserver: Check = (value, name) => {
  checkNameserver(value, `option ${name}`);
};

const domain: Check = (value, name) => {
  string(value, name);
  const problem = hostProblem(value as string);
  if (problem !== undefined)
    throw new TypeError(
      `option ${name} must be a domain, but ${JSON.stringify(String(value).slice(0, 80))} ${problem}`,
    );
};

const nonEmpty =
  (check: Check): Check =>
  (value, name) => {
    check(value, name);
    if ((value as readonly unknown[]).length === 0) throw new RangeError(`option ${name} must not be empty`);
  };

export const dnsShape: Shape = {
  family: oneOf(4, 6, 'both'),
  servers: nonEmpty(arrayOf(nameserver)),
  search: arrayOf(domain),
  ndots: integer(0, 15),
  resolvConf: string,
  minTtl: number(1, 86_400_000),
  maxTtl: number(1, 86_400_000),
  maxStale: number(0, Number.POSITIVE_INFINITY),
  deadline: duration,
  hosts: (value, name) => {
    if (typeof value !== 'boolean') string(value, name);
  },
  allowLoopback: boolean,
  allow: nonEmpty(arrayOf(string)),
  clock: implementing('a Clock', 'now', 'schedule'),
  random: func,
};

/** Checks the options of `factory` and fills in the defaults. */
export function dnsSettings(factory: string, options: DnsOptions, shape: Shape = dnsShape): DnsSettings {
  checkOptions(factory, shape, options);
  const {
    family = 'both',
    servers,
    search,
    ndots,
    resolvConf = '/etc/resolv.conf',
    minTtl = Math.min(1_000, options.maxTtl ?? 1_000),
    maxTtl = Math.max(30_000, minTtl),
    maxStale = 300_000,
    deadline = 2_000,
    hosts = false,
    allowLoopback = false,
    allow,
    clock = systemClock,
    random = systemRandom,
  } = options;
  if (minTtl > maxTtl)
    throw new RangeError(`${factory}: option minTtl must not be above maxTtl, got ${minTtl} and ${maxTtl}`);
  const given: Partial<DnsConfig> = {
    ...(servers && { servers: servers.map((server) => checkNameserver(server, 'nameserver')) }),
    ...(search && { search: search.map(bareDomain) }),
    ...(ndots !== undefined && { ndots }),
  };
  return {
    families: family === 'both' ? [4, 6] : [family],
    config: new DnsConfigSource(resolvConf, given),
    minTtl,
    maxTtl,
    maxStale,
    deadline,
    hosts: hosts === true ? '/etc/hosts' : hosts === false ? undefined : hosts,
    accepts: addressPolicy(factory, allow, allowLoopback),
    clock,
    random,
  };
}
