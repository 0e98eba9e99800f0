import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import type { ClusterConfig } from './credentials.ts';
import { WatchError } from './errors.ts';

/** Where the kubelet mounts the service account. https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/ */
export const serviceAccountDirectory = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Whether the process runs in a pod: the kubelet sets this variable in each container. */
export function isInCluster(env: NodeJS.ProcessEnv = process.env): boolean {
  return (env['KUBERNETES_SERVICE_HOST'] ?? '') !== '';
}

/**
 * The API server as a pod sees it. Token and CA are read anew for each request: requests are minutes apart, and
 * the kubelet rotates both. A file that is unreadable or empty for a moment keeps its last good content.
 */
export function inCluster(
  env: NodeJS.ProcessEnv = process.env,
  directory: string = serviceAccountDirectory,
): ClusterConfig {
  const host = env['KUBERNETES_SERVICE_HOST'] ?? '';
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
  const server = `https://${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const token = keptFile(`${directory}/token`);
  const ca = keptFile(`${directory}/ca.crt`);
  return {
    key: `pod ${server} ${directory}`,
    namespace: undefined,
    async credentials() {
      return {
        server,
        headers: { authorization: `Bearer ${await token()}` },
        tls: { ca: await ca(), rejectUnauthorized: true },
      };
    },
  };
}

function keptFile(path: string): () => Promise<string> {
  let kept = '';
  return async () => {
    let cause: unknown;
    try {
      kept = (await readFile(path, 'utf8')).trim() || kept;
    } catch (error) {
      cause = error;
    }
    if (kept !== '') return kept;
    throw new WatchError(
      `${path} ${cause === undefined ? 'is empty' : 'cannot be read'}: the pod needs a service account with automountServiceAccountToken not set to false`,
      'STEERSMAN_ERR_KUBECONFIG',
      { cause },
    );
  };
}
