import { readFileSync } from 'node:fs';
import { serviceAccountDirectory } from './in-cluster.ts';

/** What resolv.conf tells a pod about its cluster: `search shop.svc.cluster.local svc.cluster.local cluster.local`. */
export interface ClusterNames {
  readonly namespace: string | undefined;
  /** The cluster's DNS domain. */
  readonly domain: string;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Outside a pod there is no such file, and then nothing to learn from it.
    return '';
  }
}

/** The namespace of this pod, as the kubelet mounts it. */
export function ownNamespace(directory: string = serviceAccountDirectory): string | undefined {
  return textOf(`${directory}/namespace`).trim() || undefined;
}

export function clusterNames(path = '/etc/resolv.conf'): ClusterNames {
  let search: string[] = [];
  for (const line of textOf(path).split('\n')) {
    const [keyword, ...domains] = line.trim().split(/\s+/);
    // The last one counts, as in libc.
    if (keyword === 'search') search = domains.map((domain) => domain.toLowerCase().replace(/\.$/, ''));
  }
  const own = /^([a-z0-9-]+)\.svc\.(.+)$/.exec(search[0] ?? '');
  const cluster = search
    .map((domain) => /^svc\.(.+)$/.exec(domain)?.[1])
    .find((domain) => domain !== undefined);
  return { namespace: own?.[1], domain: cluster ?? own?.[2] ?? 'cluster.local' };
}
