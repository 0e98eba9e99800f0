import { isIPv6 } from 'node:net';
import type { Collection } from './reflector.ts';
import type { EndpointObject, SliceObject } from './slice.ts';

/** The name of a Service in its namespace. */
export interface ServiceKey {
  readonly namespace: string;
  readonly service: string;
}

/** Where slices come from. */
export interface SlicesSource {
  readonly resource: string;
  readonly collection: Collection;
  /** The slices an object of the collection stands for, by name; undefined where it is none of ours. */
  read(object: unknown): ReadonlyMap<string, SliceObject> | undefined;
  /** What is odd about an object, for people. */
  warn(object: unknown): string | undefined;
}

interface Labelled {
  readonly metadata?: {
    readonly name?: string;
    readonly labels?: Readonly<Record<string, string>> | null;
    readonly annotations?: Readonly<Record<string, string>> | null;
  } | null;
}

/** The label that joins slices to their Service. */
const serviceName = 'kubernetes.io/service-name';

/** discovery.k8s.io/v1. https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/ */
export function endpointSlices({ namespace, service }: ServiceKey): SlicesSource {
  return {
    resource: 'endpointslices',
    collection: {
      path: `/apis/discovery.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/endpointslices`,
      selector: `labelSelector=${encodeURIComponent(`${serviceName}=${service}`)}`,
    },
    read(object) {
      const { metadata } = object as Labelled;
      if (metadata?.name === undefined || metadata.labels?.[serviceName] !== service) return undefined;
      return new Map([[metadata.name, object as SliceObject]]);
    },
    warn(object) {
      return (object as SliceObject).addressType === 'FQDN'
        ? `the slice ${(object as Labelled).metadata?.name} of ${service} in ${namespace} holds names (addressType FQDN) instead of addresses: it is left out`
        : undefined;
    },
  };
}

interface EndpointsObject extends Labelled {
  readonly subsets?:
    | readonly {
        readonly addresses?: readonly LegacyAddress[] | null;
        readonly notReadyAddresses?: readonly LegacyAddress[] | null;
        readonly ports?: SliceObject['ports'];
      }[]
    | null;
}

interface LegacyAddress {
  readonly ip?: string;
  readonly nodeName?: string;
  readonly targetRef?: EndpointObject['targetRef'];
}

/**
 * The v1 Endpoints that came before slices: deprecated, cut at 1000 addresses, one family, nothing about terminating
 * pods or hints. Each subset is read as a slice.
 */
export function legacyEndpoints({ namespace, service }: ServiceKey): SlicesSource {
  return {
    resource: 'endpoints',
    collection: {
      path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/endpoints`,
      selector: `fieldSelector=${encodeURIComponent(`metadata.name=${service}`)}`,
    },
    read(object) {
      const { metadata, subsets } = object as EndpointsObject;
      if (metadata?.name !== service) return undefined;
      const slices = new Map<string, SliceObject>();
      for (const [i, { addresses, notReadyAddresses, ports }] of (subsets ?? []).entries()) {
        const endpoints = [
          ...(addresses ?? []).map((address) => legacyEndpoint(address, true)),
          ...(notReadyAddresses ?? []).map((address) => legacyEndpoint(address, false)),
        ];
        for (const addressType of ['IPv4', 'IPv6'] as const) {
          const own = endpoints.filter(
            (endpoint) => isIPv6(endpoint.addresses?.[0] ?? '') === (addressType === 'IPv6'),
          );
          if (own.length > 0)
            slices.set(`${i} ${addressType}`, { addressType, endpoints: own, ports: ports ?? null });
        }
      }
      return slices;
    },
    warn(object) {
      return (object as Labelled).metadata?.annotations?.['endpoints.kubernetes.io/over-capacity'] ===
        'truncated'
        ? `the Endpoints of ${service} in ${namespace} are cut at 1000 addresses: use source 'endpointslices' to see all`
        : undefined;
    },
  };
}

function legacyEndpoint({ ip, nodeName, targetRef }: LegacyAddress, ready: boolean): EndpointObject {
  return {
    addresses: ip === undefined ? [] : [ip],
    conditions: { ready, serving: ready },
    nodeName: nodeName ?? null,
    targetRef: targetRef ?? null,
  };
}
