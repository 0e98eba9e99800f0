import { portNumber, type Target } from '../../core/target.ts';
import type { ServiceState } from './service.ts';
import type { Slice, SlicePort } from './slice.ts';

/** Which of a slice's ports is meant, once the Service has been asked. */
export type PortRule =
  /** The port of this name, whatever its number in each slice; `number` where a slice knows none. */
  | { readonly by: 'name'; readonly name: string; readonly number: number | undefined }
  /** The Service is unknown: the slice's only port, else the one with this number. */
  | { readonly by: 'guess'; readonly number: number }
  /** This number, as a headless Service is dialled. */
  | { readonly by: 'number'; readonly number: number }
  /** The Service has no such port. */
  | { readonly by: 'none'; readonly ports: readonly string[] };

/**
 * A number is a port of the Service, as through its cluster IP: it leads to the port of that name in each slice.
 * A Service with one port needs no number in the target.
 */
export function portRule(target: Target, service: ServiceState): PortRule {
  const { port } = target;
  if (service.kind !== 'present') {
    if (typeof port === 'string') return { by: 'name', name: port, number: undefined };
    return { by: 'guess', number: portNumber(target) };
  }
  const ports = service.ports.filter((entry) => entry.protocol === 'TCP');
  const number = portNumber(target);
  const found =
    typeof port === 'string'
      ? ports.find((entry) => entry.name === port)
      : (ports.find((entry) => entry.port === number) ??
        (port === undefined && ports.length === 1 ? ports[0] : undefined));
  if (found !== undefined) return { by: 'name', name: found.name, number: found.targetPort ?? found.port };
  if (typeof port === 'string') {
    // A slice may carry ports its Service does not name, where others than the control plane write it.
    return ports.length === 0
      ? { by: 'name', name: port, number: undefined }
      : { by: 'none', ports: ports.map((entry) => `${entry.name || '(unnamed)'} ${entry.port}`) };
  }
  if (service.headless || ports.length === 0) return { by: 'number', number };
  return { by: 'none', ports: ports.map((entry) => `${entry.name || '(unnamed)'} ${entry.port}`) };
}

/** The number to dial in a slice; undefined where the slice has no such port. */
export function portOf(rule: PortRule, slice: Slice): number | undefined {
  if (rule.by === 'none') return undefined;
  if (rule.by === 'number') return rule.number;
  const { ports } = slice;
  if (ports === undefined) return rule.number;
  const tcp = ports.filter((port) => port.protocol === 'TCP');
  if (rule.by === 'name') {
    const named = tcp.find((port) => port.name === rule.name);
    return named === undefined ? undefined : (named.port ?? rule.number);
  }
  if (tcp.length === 1) return (tcp[0] as SlicePort).port ?? rule.number;
  return tcp.some((port) => port.port === rule.number || port.port === undefined) ? rule.number : undefined;
}

/** The ports of slices, for an error that lists them. */
export function portsFound(slices: Iterable<Slice>): string[] {
  const found = new Set<string>();
  for (const slice of slices)
    for (const port of slice.ports ?? [])
      found.add(
        `${port.name || '(unnamed)'} ${port.port ?? '(any)'}${port.protocol === 'TCP' ? '' : ` ${port.protocol}`}`,
      );
  return [...found];
}
