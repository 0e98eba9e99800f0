/** A kind of object that the API serves. */
export interface Resource {
  /** `''` for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly shortNames?: readonly string[];
  readonly namespaced: boolean;
  /** How a bookmark of this kind looks beyond its metadata: Go writes the fields that have no `omitempty`. */
  readonly zero: Readonly<Record<string, unknown>>;
  /** Whether its objects count their changes. */
  readonly generations?: true;
  /** Sent as a `Warning` header with every answer. */
  readonly warning?: string;
}

export const namespaces: Resource = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  singular: 'namespace',
  kind: 'Namespace',
  shortNames: ['ns'],
  namespaced: false,
  zero: { spec: {}, status: {} },
};

export const services: Resource = {
  group: '',
  version: 'v1',
  plural: 'services',
  singular: 'service',
  kind: 'Service',
  shortNames: ['svc'],
  namespaced: true,
  zero: { spec: {}, status: { loadBalancer: {} } },
};

export const endpoints: Resource = {
  group: '',
  version: 'v1',
  plural: 'endpoints',
  singular: 'endpoints',
  kind: 'Endpoints',
  shortNames: ['ep'],
  namespaced: true,
  zero: {},
  warning: '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"',
};

export const endpointSlices: Resource = {
  group: 'discovery.k8s.io',
  version: 'v1',
  plural: 'endpointslices',
  singular: 'endpointslice',
  kind: 'EndpointSlice',
  namespaced: true,
  generations: true,
  zero: { addressType: '', endpoints: null, ports: null },
};

export const resources: readonly Resource[] = [namespaces, services, endpoints, endpointSlices];

export const verbs = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
] as const;
export type Verb = (typeof verbs)[number];

/** `v1`, `discovery.k8s.io/v1` */
export function apiVersion(resource: Resource): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

/** `services`, `endpointslices.discovery.k8s.io`: how messages name a resource. */
export function qualifiedName(resource: Resource): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
}

export function resourceOfKind(kind: string, version: string): Resource | undefined {
  return resources.find((resource) => resource.kind === kind && apiVersion(resource) === version);
}
