import { isAddress, parseServiceName } from '../core/target.ts';

/** Whose a host is: a service of ours, somebody else's, or for the cluster's DNS to say. */
export type Route = 'ours' | 'others' | 'ask';

export interface RoutingSettings {
  readonly inCluster: boolean;
  readonly clusterDomain: string;
}

/**
 * Judges a host by its name alone. One label, `*.svc` and `*.svc.<cluster domain>` are services; two labels may be
 * (`orders.shop`) or not (`example.com`), which only the cluster knows; more labels are not, nor is anything else
 * with a trailing dot. Outside a cluster only one label is.
 */
export function routeOf(host: string, { inCluster, clusterDomain }: RoutingSettings): Route {
  if (isAddress(host)) return 'others';
  const name = parseServiceName(host, clusterDomain);
  if (name === undefined) return 'others';
  // The dot says that the name is complete, so that nothing may be added to it.
  if (host.endsWith('.') && !host.endsWith(`.${clusterDomain}.`)) return 'others';
  if (name.namespace === undefined) return 'ours';
  if (!inCluster) return 'others';
  return host.split('.').length === 2 ? 'ask' : 'ours';
}

/** Whether a name exists; undefined when DNS cannot say. */
export type Lookup = (name: string) => Promise<boolean | undefined>;

/** How long a name that is no service is not asked for again, in ms. */
const negativeTtl = 30_000;
/** More hosts than this are not remembered: a crawler meets any number of them. */
const memory = 1_000;

/** What the cluster's DNS says of two-label hosts, remembered: each is asked for once. */
export class KnownHosts {
  readonly #lookup: Lookup;
  readonly #now: () => number;
  readonly #known = new Map<string, { ours: boolean; until: number }>();
  readonly #asking = new Map<string, Promise<boolean>>();

  constructor(lookup: Lookup, now: () => number) {
    this.#lookup = lookup;
    this.#now = now;
  }

  /** undefined: it has to be asked. */
  known(host: string): boolean | undefined {
    const entry = this.#known.get(host);
    return entry === undefined || entry.until <= this.#now() ? undefined : entry.ours;
  }

  /** `name` is the absolute name to look up for `host`. Never rejects: what DNS cannot say passes through. */
  ask(host: string, name: string): Promise<boolean> {
    let asking = this.#asking.get(host);
    if (asking === undefined) {
      asking = this.#ask(host, name).finally(() => this.#asking.delete(host));
      this.#asking.set(host, asking);
    }
    return asking;
  }

  /** Resolves when no question is out. */
  async settled(): Promise<void> {
    await Promise.all(this.#asking.values());
  }

  async #ask(host: string, name: string): Promise<boolean> {
    const exists = await this.#lookup(name).catch(() => undefined);
    if (exists === undefined) return false;
    if (this.#known.size >= memory) this.#known.clear();
    this.#known.set(host, {
      ours: exists,
      until: exists ? Number.POSITIVE_INFINITY : this.#now() + negativeTtl,
    });
    return exists;
  }
}
