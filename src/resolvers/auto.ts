import { DiscoveryWarning, ResolveError } from '../core/errors.ts';
import { checkOptions } from '../core/options.ts';
import type { Resolver } from '../core/resolver.ts';
import { parseServiceName, targetName } from '../core/target.ts';
import { dnsShape } from './dns/options.ts';
import { type DnsOptions, dns } from './dns.ts';
import { preferring } from './fallback.ts';
import { isInCluster } from './kubernetes/in-cluster.ts';
import { clusterNames } from './kubernetes/namespace.ts';
import { noSuchService } from './kubernetes/problems.ts';
import { type KubernetesOptions, kubernetes, kubernetesShape } from './kubernetes.ts';

/** Options of the watch, and of DNS; each goes where it is understood. */
export interface AutoOptions extends KubernetesOptions, Omit<DnsOptions, 'family' | 'clock' | 'random'> {}

/**
 * In a cluster, or given a kubeconfig: `kubernetes()`, with DNS for what it cannot tell. That is a watch that is
 * forbidden or does not answer at first, for as long as that lasts; a Service of type ExternalName; and a name
 * that is no Service's. A `DiscoveryWarning` says when DNS is asked, and why. A set the watch has told is kept
 * through later outages, not replaced by DNS. Elsewhere: `dns({ hosts: true })`.
 *
 * @throws {TypeError | RangeError} for options that are wrong.
 */
export function auto(options: AutoOptions = {}): Resolver {
  checkOptions('auto', { ...dnsShape, ...kubernetesShape }, options);
  const lookup = dns({ hosts: true, ...only(options, dnsShape) });
  if (options.kubeconfig === undefined && !isInCluster()) return lookup;
  const api = kubernetes(only(options, kubernetesShape));
  return {
    watch(target, listener) {
      if (parseServiceName(target.host, clusterNames().domain) === undefined)
        return lookup.watch(target, listener);
      let reason = 'the API server has not answered yet';
      let known = false;
      let missing = false;
      const watched: Resolver = {
        watch: (target, inner) =>
          api.watch(target, {
            onEndpoints(endpoints, info) {
              // Without a Service the name may still be one that DNS knows, such as example.com.
              if (!known && endpoints.length === 0 && missing) return;
              known = true;
              inner.onEndpoints(endpoints, info);
            },
            onError(error) {
              reason = (error instanceof ResolveError && error.cause instanceof Error ? error.cause : error)
                .message;
              missing = error instanceof DiscoveryWarning && error.code === noSuchService;
              inner.onError(missing && !known ? new Error(error.message, { cause: error }) : error);
            },
          }),
      };
      const asked: Resolver = {
        watch(target, inner) {
          const watch = lookup.watch(target, inner);
          queueMicrotask(() =>
            listener.onError(
              new DiscoveryWarning(
                `${targetName(target)} is asked of DNS until it can be watched: ${reason}`,
                'STEERSMAN_WARN_DNS',
              ),
            ),
          );
          return watch;
        },
      };
      return preferring([watched, asked], {
        emptyIsAnswer: true,
        ...(options.clock === undefined ? {} : { clock: options.clock }),
      }).watch(target, listener);
    },
  };
}

/** The options a shape knows. */
function only<T extends object>(options: T, shape: Readonly<Record<string, unknown>>): T {
  return Object.fromEntries(Object.entries(options).filter(([key]) => Object.hasOwn(shape, key))) as T;
}
