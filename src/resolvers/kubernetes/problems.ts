import { portNumber, type Target, targetName } from '../../core/target.ts';
import { WatchError } from './errors.ts';
import { portsFound } from './ports.ts';
import type { ServiceState } from './service.ts';
import type { Slice } from './slice.ts';
import type { ServiceKey } from './slices-source.ts';
import type { Location } from './topology.ts';
import type { View } from './view.ts';

/** Code of the warning that a Service does not exist. */
export const noSuchService = 'STEERSMAN_WARN_NO_SUCH_SERVICE';

/** What is known of a Service. */
export interface Known {
  readonly key: ServiceKey;
  readonly service: ServiceState;
  readonly slices: ReadonlyMap<string, Slice>;
}

/** Why there can be no set for a target. */
export function problemOf(
  { key, service, slices }: Known,
  view: View,
  target: Target,
): WatchError | undefined {
  const name = `${key.service} in ${key.namespace}`;
  if (service.kind === 'present' && service.externalName !== undefined && slices.size === 0)
    return new WatchError(
      `the Service ${name} is of type ExternalName: it has no endpoints and stands for ${service.externalName}; use that name, dns() or auto()`,
      'STEERSMAN_ERR_EXTERNAL_NAME',
    );
  const { rule } = view;
  if (rule.by === 'none')
    return new WatchError(
      `the Service ${name} has no port ${target.port ?? portNumber(target)}: its ports are ${rule.ports.join(', ')}`,
      'STEERSMAN_ERR_PORT',
    );
  if (!view.portless) return undefined;
  const found = portsFound(slices.values()).join(', ') || 'none';
  return new WatchError(
    rule.by === 'guess'
      ? `cannot tell which port of ${name} is meant by ${targetName(target)}: its slices have the ports ${found}; give one of those numbers, name a port, or allow reading the Service`
      : `no slice of ${name} has the port of ${targetName(target)}: the ports found are ${found}`,
    'STEERSMAN_ERR_PORT',
  );
}

/** Why a set is empty that looks as if the Service did not exist: one with a selector has a slice even without pods. */
export function whyEmpty({ key, service, slices }: Known): string | undefined {
  if (slices.size > 0 || service.kind === 'present') return undefined;
  return service.kind === 'absent'
    ? `there is no Service ${key.service} in the namespace ${key.namespace}: one of the names may be wrong, or it is not created yet`
    : `there are no endpoint slices of ${key.service} in the namespace ${key.namespace}, and whether there is such a Service may not be read: one of the names may be wrong, or it is not created yet`;
}

/** Why a Service that wants its traffic kept on the node cannot have it so. */
export function whyNotLocal({ key, service }: Known, { node }: Location): string | undefined {
  if (service.kind !== 'present' || !service.local || node !== undefined) return undefined;
  return `the Service ${key.service} in ${key.namespace} has internalTrafficPolicy Local, but the node of this process is not known: pass the option node, or NODE_NAME from the downward API`;
}
