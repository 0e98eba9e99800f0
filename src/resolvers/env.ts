import { isIP } from 'node:net';
import { addressOf, type Endpoint } from '../core/endpoint.ts';
import { ResolveError } from '../core/errors.ts';
import { object } from '../core/options.ts';
import type { Resolver } from '../core/resolver.ts';
import { checkHost, checkPort, type Target, targetName } from '../core/target.ts';
import { canonicalAddress } from './address.ts';
import { clusterNames, ownNamespace } from './kubernetes/namespace.ts';
import { once } from './once.ts';

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * The variables Kubernetes sets in each container for the Services that existed when the pod started:
 * `USER_SERVICE_SERVICE_HOST` with `USER_SERVICE_SERVICE_PORT`, or with `USER_SERVICE_SERVICE_PORT_HTTP` for a
 * port that is asked for by name. A port asked for by number is dialled as it is. They hold the ClusterIP, so the
 * set is one endpoint. Variables are read when a watch begins; one that is missing or wrong is named in the
 * `ResolveError` that `onError` gets, and so is a host of another namespace, for which there are none.
 * https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 *
 * @throws {TypeError} for variables that are no object; from `watch` for a host that cannot be a name.
 */
export function env(variables: Variables = process.env): Resolver {
  object(variables, 'variables of env');
  return {
    watch(target, listener) {
      const [service, namespace] = checkHost(target.host).split('.') as [string, string?];
      try {
        checkNamespace(namespace, target);
        const set = [read(service, target, variables)];
        return once(() => listener.onEndpoints(set, { source: 'env' }));
      } catch (error) {
        return once(() => listener.onError(error as Error));
      }
    },
  };
}

/** Without this, a host of another namespace would be taken for the Service of that name in this one. */
function checkNamespace(namespace: string | undefined, target: Target): void {
  const own = ownNamespace() ?? clusterNames().namespace;
  if (namespace === undefined || own === undefined || namespace === own) return;
  const message = `cannot resolve ${targetName(target)}: environment variables are those of namespace ${own} only`;
  throw new ResolveError(message, target);
}

function read(service: string, target: Target, variables: Variables): Endpoint {
  const variable = (text: string): string => text.toUpperCase().replaceAll('-', '_');
  const wrong = (what: string, cause?: unknown): ResolveError =>
    new ResolveError(`cannot resolve ${targetName(target)}: environment variable ${what}`, target, { cause });
  const value = (name: string): string => {
    const text = Object.hasOwn(variables, name) ? variables[name] : undefined;
    if (!text) throw wrong(`${name} is not set: Kubernetes sets it for Services older than the pod`);
    return text;
  };

  const prefix = `${variable(service)}_SERVICE`;
  const host = value(`${prefix}_HOST`);
  if (isIP(host) === 0)
    throw wrong(`${prefix}_HOST is not an IP address: ${JSON.stringify(host.slice(0, 80))}`);
  const address = canonicalAddress(host);

  let { port } = target;
  if (typeof port !== 'number') {
    const name = port === undefined ? `${prefix}_PORT` : `${prefix}_PORT_${variable(port)}`;
    const text = value(name);
    try {
      port = checkPort(/^\d+$/.test(text) ? Number(text) : Number.NaN);
    } catch (cause) {
      throw wrong(`${name} is not a port: ${JSON.stringify(text.slice(0, 80))}`, cause);
    }
  }
  return { id: addressOf(address, port), address, port, name: service };
}
