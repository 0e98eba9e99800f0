import { type Clock, type Random, systemClock, systemRandom } from '../core/clock.ts';
import { type Check, checkOptions, func, implementing, oneOf, type Shape, string } from '../core/options.ts';
import type { Resolver } from '../core/resolver.ts';
import { isLabel } from '../core/target.ts';
import type { LoadedKubeConfig } from './kubernetes/loaded.ts';
import { ownLocation } from './kubernetes/location.ts';
import { TargetWatch } from './kubernetes/target-watch.ts';

export { WatchError, type WatchErrorCode } from './kubernetes/errors.ts';

export interface KubernetesOptions {
  /**
   * A kubeconfig: the path of a file, the YAML or JSON text itself, or a `KubeConfig` of @kubernetes/client-node.
   * @default the files of `KUBECONFIG`, else the pod's service account, else `~/.kube/config`
   */
  readonly kubeconfig?: string | LoadedKubeConfig;
  /** A context of the kubeconfig. @default its current one */
  readonly context?: string;
  /**
   * The namespace of names that have none.
   * @default that of this pod, else of the kubeconfig's context, else of resolv.conf's first search domain, else `default`
   */
  readonly namespace?: string;
  /** The zone of this process, for topology hints. @default from the downward API, else unknown */
  readonly zone?: string;
  /** The node of this process, for hints and `internalTrafficPolicy: Local`. @default from the downward API, else unknown */
  readonly node?: string;
  /** `endpoints` reads the deprecated v1 Endpoints, cut at 1000 addresses. @default 'endpointslices' */
  readonly source?: 'endpointslices' | 'endpoints';
  /** Whether to follow the control plane's hints, as kube-proxy does. @default 'hints' */
  readonly topology?: 'hints' | 'ignore';
  /** Which addresses to use; with `both` a pod of two families is used once, by the Service's first. @default 'both' */
  readonly family?: 4 | 6 | 'both';
  readonly clock?: Clock;
  readonly random?: Random;
}

const kubeconfigCheck: Check = (value, name) => {
  if (typeof value === 'string') string(value, name);
  else
    implementing(
      'a path, a kubeconfig as text, or a KubeConfig',
      'getContextObject',
      'applyToHTTPSOptions',
    )(value, name);
};

export const kubernetesShape: Shape = {
  kubeconfig: kubeconfigCheck,
  context: string,
  namespace: (value, name) => {
    string(value, name);
    if (!isLabel(value as string))
      throw new TypeError(
        `option ${name} must be the name of a namespace, got ${JSON.stringify((value as string).slice(0, 80))}`,
      );
  },
  zone: string,
  node: string,
  source: oneOf('endpointslices', 'endpoints'),
  topology: oneOf('hints', 'ignore'),
  family: oneOf(4, 6, 'both'),
  clock: implementing('a Clock', 'now', 'schedule'),
  random: func,
};

/**
 * The pods of a Service, watched at the Kubernetes API: the endpoints kube-proxy would choose, within milliseconds of
 * a change, and the last known ones through any outage. A target's port is the Service's, as through its cluster IP.
 *
 * All watches of a cluster share one connection, and all users of a Service one watch, which ends with the last.
 * Needs a role that may list and watch endpointslices; may read the Service where the role allows it.
 *
 * Errors are `WatchError`s; those that waiting will not help, such as a missing rule or a wrong port, are the cause of
 * a `ResolveError`. Oddities, such as a Service that does not exist, are `DiscoveryWarning`s.
 *
 * @throws {TypeError} for options that are wrong.
 */
export function kubernetes(options: KubernetesOptions = {}): Resolver {
  checkOptions('kubernetes', kubernetesShape, options);
  const { topology = 'hints', family = 'both', source = 'endpointslices' } = options;
  const { clock = systemClock, random = systemRandom } = options;
  const own = ownLocation();
  const settings = {
    config: {
      ...(options.kubeconfig === undefined ? {} : { kubeconfig: options.kubeconfig }),
      ...(options.context === undefined ? {} : { context: options.context }),
    },
    namespace: options.namespace,
    location: {
      zone: options.zone ?? own.zone,
      node: options.node ?? own.node,
      hints: topology === 'hints',
    },
    source,
    family,
    clock,
    random,
  };
  return {
    watch: (target, listener) => new TargetWatch(target, listener, settings),
  };
}
