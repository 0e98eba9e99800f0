import { type Clock, systemClock } from '../core/clock.ts';
import { DiscoveryWarning, isError, ResolveError } from '../core/errors.ts';
import { checkOptions } from '../core/options.ts';
import type { Resolver, ResolverListener, Watch } from '../core/resolver.ts';
import { parseServiceName, type Target, targetName } from '../core/target.ts';
import { dnsShape } from './dns/options.ts';
import { type DnsOptions, dns } from './dns.ts';
import { preferring } from './fallback.ts';
import { WatchError } from './kubernetes/errors.ts';
import { isInCluster } from './kubernetes/in-cluster.ts';
import { clusterNames } from './kubernetes/namespace.ts';
import { noSuchService } from './kubernetes/problems.ts';
import { type KubernetesOptions, kubernetes, kubernetesShape } from './kubernetes.ts';

/** Options of the watch, and of DNS; each goes where it is understood. `hosts` is on here unless it is turned off. */
export interface AutoOptions extends KubernetesOptions, Omit<DnsOptions, 'family' | 'clock' | 'random'> {}

/**
 * In a cluster, or given a kubeconfig or a context: `kubernetes()`, with DNS for what it cannot tell. That is a
 * watch that is forbidden, or does not answer at first, for as long as that lasts; a Service of type ExternalName;
 * and a name that is no Service's. A bare name is asked of DNS in the `namespace` of the options, where there is one.
 * A `DiscoveryWarning` says when DNS is asked, and why. A set the watch has told is kept through later outages, not
 * replaced by DNS. Elsewhere: `dns({ hosts: true })`.
 *
 * @throws {TypeError | RangeError} for options that are wrong.
 */
export function auto(options: AutoOptions = {}): Resolver {
  checkOptions('auto', { ...dnsShape, ...kubernetesShape }, options);
  const lookup = dns({ hosts: true, ...only(options, dnsShape) });
  if (options.kubeconfig === undefined && options.context === undefined && !isInCluster()) return lookup;
  const api = kubernetes(only(options, kubernetesShape));
  const { namespace, clock = systemClock } = options;
  return {
    watch(target, listener) {
      const { domain } = clusterNames();
      const name = parseServiceName(target.host, domain);
      if (name === undefined) return lookup.watch(target, listener);
      // The search domains of resolv.conf would lead to the pod's own namespace.
      const isElsewhere = name.namespace === undefined && namespace !== undefined;
      const asked = isElsewhere ? { ...target, host: `${name.service}.${namespace}.svc.${domain}` } : target;
      return new WatchOrLookup(target, listener, { api, lookup, asked, clock });
    },
  };
}

interface Sources {
  readonly api: Resolver;
  readonly lookup: Resolver;
  /** What the lookup is asked for. */
  readonly asked: Target;
  readonly clock: Clock;
}

/** A watch of the API with DNS behind it, begun anew when the watch turns out to be the wrong source. */
class WatchOrLookup implements Watch {
  readonly #target: Target;
  readonly #listener: ResolverListener;
  readonly #sources: Sources;
  readonly #left: Promise<void>[] = [];
  #current: Watch;
  #closed = false;
  /** The watch has told a set. */
  #known = false;
  #reason = 'the API server has not answered yet';

  constructor(target: Target, listener: ResolverListener, sources: Sources) {
    this.#target = target;
    this.#listener = listener;
    this.#sources = sources;
    this.#current = this.#begin();
  }

  refresh(): void {
    this.#current.refresh();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#left, this.#current.close()]);
  }

  #begin(): Watch {
    const { api, lookup, asked, clock } = this.#sources;
    const watched: Resolver = { watch: (target, inner) => api.watch(target, this.#hear(inner)) };
    const lookedUp: Resolver = {
      watch: (_, inner) => {
        const watch = lookup.watch(asked, inner);
        queueMicrotask(() => this.#warn());
        return watch;
      },
    };
    return preferring([watched, lookedUp], { emptyIsAnswer: true, clock }).watch(
      this.#target,
      this.#listener,
    );
  }

  #hear(inner: ResolverListener): ResolverListener {
    return {
      onEndpoints: (endpoints, info) => {
        // What a note explains is that there is no Service: the name may still be one that DNS knows, such as example.com.
        if (!this.#known && info?.note !== undefined && endpoints.length === 0) return;
        this.#known = true;
        inner.onEndpoints(endpoints, info);
      },
      onError: (error) => {
        const isMissing = error instanceof DiscoveryWarning && error.code === noSuchService;
        const cause = error instanceof ResolveError && isError(error.cause) ? error.cause : error;
        this.#reason = cause.message;
        inner.onError(isMissing && !this.#known ? new Error(error.message, { cause: error }) : error);
        if (this.#known && isForDns(cause) && !this.#closed) this.#beginAnew();
      },
    };
  }

  /** The set told so far stays with the listener until another comes. */
  #beginAnew(): void {
    this.#known = false;
    this.#left.push(this.#current.close());
    this.#current = this.#begin();
  }

  #warn(): void {
    if (this.#closed) return;
    this.#listener.onError(
      new DiscoveryWarning(
        `${targetName(this.#target)} is asked of DNS until it can be watched: ${this.#reason}`,
        'STEERSMAN_WARN_DNS',
      ),
    );
  }
}

/** What DNS knows better, however long the watch has gone well. */
function isForDns(error: Error): boolean {
  return (
    error instanceof WatchError &&
    (error.code === 'STEERSMAN_ERR_FORBIDDEN' || error.code === 'STEERSMAN_ERR_EXTERNAL_NAME')
  );
}

/** The options a shape knows. */
function only<T extends object>(options: T, shape: Readonly<Record<string, unknown>>): T {
  return Object.fromEntries(Object.entries(options).filter(([key]) => Object.hasOwn(shape, key))) as T;
}
