import { readFileSync } from 'node:fs';

/** Variables people fill from `spec.nodeName` by the downward API. */
const nodeVariables = [
  'NODE_NAME',
  'K8S_NODE_NAME',
  'KUBE_NODE_NAME',
  'MY_NODE_NAME',
  'KUBERNETES_NODE_NAME',
];
/** Variables people fill from the label `topology.kubernetes.io/zone`, or by other means. */
const zoneVariables = ['TOPOLOGY_ZONE', 'NODE_ZONE', 'K8S_ZONE', 'POD_ZONE', 'AVAILABILITY_ZONE', 'ZONE'];
/** Where the Kubernetes documentation mounts the downward API. */
const podInfo = '/etc/podinfo';

function first(env: NodeJS.ProcessEnv, names: readonly string[]): string | undefined {
  for (const name of names) if (env[name]) return env[name];
  return undefined;
}

function fileText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Mounting the downward API is optional.
    return '';
  }
}

/** `key="value"` lines, as the downward API writes labels. */
function label(text: string, key: string): string | undefined {
  const line = text.split('\n').find((line) => line.startsWith(`${key}=`));
  return line?.slice(key.length + 1).replace(/^"|"$/g, '') || undefined;
}

/**
 * The zone and node of this process: from the variables and files of the downward API, where the pod has them.
 * Pods carry their node's zone as a label since Kubernetes 1.35.
 * https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
 */
export function ownLocation(
  env: NodeJS.ProcessEnv = process.env,
  directory: string = podInfo,
): { readonly zone: string | undefined; readonly node: string | undefined } {
  const labels = fileText(`${directory}/labels`);
  return {
    zone:
      first(env, zoneVariables) ??
      (fileText(`${directory}/zone`).trim() || label(labels, 'topology.kubernetes.io/zone')),
    node: first(env, nodeVariables) ?? (fileText(`${directory}/node`).trim() || undefined),
  };
}
