import { isIP } from 'node:net';
import type { KubeObject } from './objects.ts';
import { endpointSlices, type Resource, services } from './resources.ts';
import { invalid, type StatusCause } from './status.ts';

const dnsName = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;
const serviceName = /^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** The API's own limit; the controller writes 100 by default. */
const maxEndpoints = 1000;

const required = (field: string, what = ''): StatusCause => ({
  reason: 'FieldValueRequired',
  message: `Required value${what === '' ? '' : `: ${what}`}`,
  field,
});

const wrong = (field: string, value: unknown, why: string): StatusCause => ({
  reason: 'FieldValueInvalid',
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
  field,
});

const array = (value: unknown): readonly Record<string, unknown>[] =>
  Array.isArray(value) ? (value as Record<string, unknown>[]) : [];

/**
 * Refuses, with a 422, what a real server would refuse of the fields discovery depends on. Unlike a real one it
 * takes loopback addresses, since that is where its pods are.
 */
export function validate(resource: Resource, object: KubeObject): void {
  const { name } = object.metadata;
  const causes: StatusCause[] = [];
  const form = resource === services ? serviceName : dnsName;
  if (!name) causes.push(required('metadata.name', 'name or generateName is required'));
  else if (!form.test(name))
    causes.push(wrong('metadata.name', name, 'must consist of lower case alphanumeric characters or "-"'));
  if (resource === services) causes.push(...ofService(object));
  if (resource === endpointSlices) causes.push(...ofSlice(object));
  if (causes.length > 0) throw invalid(resource.group, resource.kind, name ?? '', causes);
}

function ofService(object: KubeObject): StatusCause[] {
  const spec = (object['spec'] ?? {}) as Record<string, unknown>;
  if (spec['type'] === 'ExternalName') return spec['externalName'] ? [] : [required('spec.externalName')];
  const ports = array(spec['ports']);
  if (ports.length === 0 && spec['clusterIP'] !== 'None') return [required('spec.ports')];
  return ports.flatMap(({ port, name }, i) => [
    ...checkPort(port, `spec.ports[${i}].port`),
    ...(ports.length > 1 && !name ? [required(`spec.ports[${i}].name`)] : []),
  ]);
}

function checkPort(port: unknown, field: string): StatusCause[] {
  const fine = typeof port === 'number' && Number.isInteger(port) && port >= 1 && port <= 65_535;
  return fine ? [] : [wrong(field, port, 'must be between 1 and 65535, inclusive')];
}

function ofSlice(object: KubeObject): StatusCause[] {
  const family = object['addressType'];
  if (family !== 'IPv4' && family !== 'IPv6' && family !== 'FQDN') return [required('addressType')];
  const endpoints = array(object['endpoints']);
  if (endpoints.length > maxEndpoints) {
    const message = `Too many: ${endpoints.length}: must have at most ${maxEndpoints} items`;
    return [{ reason: 'FieldValueTooMany', message, field: 'endpoints' }];
  }
  const version = { IPv4: 4, IPv6: 6, FQDN: 0 }[family];
  return [
    ...endpoints.flatMap(({ addresses }, i): StatusCause[] => {
      const field = `endpoints[${i}].addresses`;
      const list = Array.isArray(addresses) ? (addresses as unknown[]) : [];
      if (list.length === 0) return [required(field, 'must contain at least 1 address')];
      return list.flatMap((address, n) =>
        typeof address === 'string' && isIP(address) === version
          ? []
          : [wrong(`${field}[${n}]`, address, `must be a valid ${family} address`)],
      );
    }),
    ...array(object['ports']).flatMap(({ port }, i) =>
      port === undefined || port === null ? [] : checkPort(port, `ports[${i}].port`),
    ),
  ];
}
