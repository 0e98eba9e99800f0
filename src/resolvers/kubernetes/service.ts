/** A port of a Service. */
export interface ServicePort {
  /** Empty where the port has no name. */
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  /** Where the pods listen; undefined where they name it themselves. */
  readonly targetPort: number | undefined;
}

/** What is known of the Service object itself. */
export type ServiceState =
  | { readonly kind: 'unknown' }
  /** May not be read, or could not. */
  | { readonly kind: 'unreadable' }
  | { readonly kind: 'absent' }
  | {
      readonly kind: 'present';
      readonly ports: readonly ServicePort[];
      /** Has no cluster IP: its DNS name stands for the pods. */
      readonly headless: boolean;
      /** The DNS name that a Service of type ExternalName stands for. */
      readonly externalName: string | undefined;
      /** Only endpoints on the caller's own node are to be used. */
      readonly local: boolean;
      /** The family that comes first. */
      readonly family: 4 | 6;
    };

interface ServiceObject {
  readonly spec?: {
    readonly type?: string | null;
    readonly clusterIP?: string | null;
    readonly externalName?: string | null;
    readonly internalTrafficPolicy?: string | null;
    readonly ipFamilies?: readonly string[] | null;
    readonly ports?:
      | readonly {
          readonly name?: string | null;
          readonly protocol?: string | null;
          readonly port?: number | null;
          readonly targetPort?: number | string | null;
        }[]
      | null;
  } | null;
}

export function readService(object: unknown): ServiceState {
  const spec = (object as ServiceObject | null)?.spec ?? {};
  return {
    kind: 'present',
    ports: (spec.ports ?? []).flatMap(({ name, protocol, port, targetPort }) =>
      typeof port === 'number'
        ? [
            {
              name: name ?? '',
              protocol: protocol ?? 'TCP',
              port,
              // Absent: the same; a name is resolved by each slice.
              targetPort: typeof targetPort === 'string' ? undefined : targetPort || port,
            },
          ]
        : [],
    ),
    headless: spec.clusterIP === 'None',
    externalName: spec.type === 'ExternalName' ? (spec.externalName ?? '') : undefined,
    local: spec.internalTrafficPolicy === 'Local',
    family: spec.ipFamilies?.[0] === 'IPv6' ? 6 : 4,
  };
}
