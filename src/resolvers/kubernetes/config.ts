import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node';
import type { ClusterConfig } from './credentials.ts';
import { WatchError } from './errors.ts';
import { inCluster, isInCluster, serviceAccountDirectory } from './in-cluster.ts';
import { fromFiles, fromInstance, fromText } from './kubeconfig.ts';
import type { LoadedKubeConfig } from './loaded.ts';

export interface ConfigOptions {
  readonly kubeconfig?: string | LoadedKubeConfig;
  readonly context?: string;
}

/** Replaced by tests. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  readonly home: string;
  readonly serviceAccount: string;
}

const here = (): Surroundings => ({
  env: process.env,
  home: homedir(),
  serviceAccount: serviceAccountDirectory,
});

/**
 * The option, else the files named by `KUBECONFIG`, else the pod's service account, else `~/.kube/config`; never a
 * guessed address.
 */
export async function clusterConfig(
  { kubeconfig, context }: ConfigOptions,
  { env, home, serviceAccount }: Surroundings = here(),
): Promise<ClusterConfig> {
  if (kubeconfig !== undefined) {
    if (typeof kubeconfig !== 'string') return fromInstance(kubeconfig as KubeConfig, context);
    // A path has one line and no braces; kubeconfig text has more of either.
    return /[\n{]/.test(kubeconfig)
      ? fromText(kubeconfig, context)
      : fromFiles([resolve(kubeconfig)], context, 'option kubeconfig');
  }
  const named = (env['KUBECONFIG'] ?? '').split(delimiter).filter((file) => file !== '');
  if (named.length > 0) return fromFiles(named, context, 'KUBECONFIG');
  if (isInCluster(env) && exists(join(serviceAccount, 'token'))) return inCluster(env, serviceAccount);
  const own = join(home, '.kube', 'config');
  if (exists(own)) return fromFiles([own], context, '~/.kube/config');
  throw new WatchError(
    `no Kubernetes configuration: looked for the option kubeconfig, KUBECONFIG (not set), the service account of a pod (${
      isInCluster(env) ? `no ${serviceAccount}/token` : 'KUBERNETES_SERVICE_HOST is not set'
    }) and ${own} (does not exist)`,
    'STEERSMAN_ERR_KUBECONFIG',
  );
}

/** Also when we may not even ask: reading it then says which file it is about. */
function exists(path: string): boolean {
  try {
    return existsSync(path);
  } catch {
    return true;
  }
}
