import { apiVersion, type Resource, resources, verbs } from './resources.ts';

const groupVersions: ReadonlyMap<string, readonly Resource[]> = Map.groupBy(resources, apiVersion);

/** What a server says of itself: versions, groups and kinds, for clients that ask before they act. */
export function discovery(path: string): Record<string, unknown> | undefined {
  if (path === '/api') return { kind: 'APIVersions', versions: ['v1'] };
  if (path === '/apis') return { kind: 'APIGroupList', apiVersion: 'v1', groups };
  if (path === '/version') return { major: '1', minor: '36', gitVersion: 'v1.36.2', platform: 'linux/amd64' };
  if (path === '/healthz' || path === '/livez' || path === '/readyz') return { status: 'ok' };
  const groupVersion = /^\/apis?\/(.+?)\/?$/.exec(path)?.[1];
  const kinds = groupVersion === undefined ? undefined : groupVersions.get(groupVersion);
  if (kinds === undefined || path.startsWith('/apis/') !== groupVersion?.includes('/')) return undefined;
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion,
    resources: kinds.map(({ plural, singular, namespaced, kind, shortNames }) => ({
      name: plural,
      singularName: singular,
      namespaced,
      kind,
      verbs,
      ...(shortNames === undefined ? {} : { shortNames }),
    })),
  };
}

const groups: readonly Record<string, unknown>[] = [...groupVersions.keys()]
  .filter((groupVersion) => groupVersion.includes('/'))
  .map((groupVersion) => {
    const [name, version] = groupVersion.split('/');
    const preferred = { groupVersion, version };
    return { name, versions: [preferred], preferredVersion: preferred };
  });
