import { parseArgs } from 'node:util';
import { hostProblem, parseServiceName, parseTarget } from '../core/target.ts';
import type { Command } from './command.ts';

const usage = `usage: steersman rbac <service>… [options]

Prints the roles that watching these Services needs, as YAML for kubectl apply -f -. A service is named as in a URL:
orders, orders.shop or orders.shop.svc.cluster.local.

  --namespace <name>             the namespace of bare names; default: default
  --account <[namespace/]name>   the service account that watches; default: that called default, in --namespace
  --source endpoints             for the deprecated v1 Endpoints instead of EndpointSlices

Slices have generated names, so their rule cannot be narrower than a namespace. The second rule, reading the Service
itself, may be left out: then a URL's port is taken for the pods' own where a Service has several.`;

export interface RbacOptions {
  readonly namespace?: string;
  /** `name`, or `namespace/name`. */
  readonly account?: string;
  readonly source?: 'endpointslices' | 'endpoints';
}

/** One Role and RoleBinding per namespace, as YAML. */
export function manifests(
  services: readonly string[],
  { namespace: own = 'default', account = 'default', source = 'endpointslices' }: RbacOptions = {},
): string {
  if (services.length === 0) throw new TypeError('at least one service is needed');
  const byNamespace = new Map<string, string[]>();
  for (const name of services) {
    const parsed = parseServiceName(parseTarget(name).host);
    if (parsed === undefined) throw new TypeError(`${name} is not the name of a Service`);
    const namespace = parsed.namespace ?? own;
    byNamespace.set(namespace, [...(byNamespace.get(namespace) ?? []), parsed.service]);
  }
  const slash = account.indexOf('/');
  const subject = { namespace: slash === -1 ? own : account.slice(0, slash), name: account.slice(slash + 1) };
  return [...byNamespace]
    .map(([namespace, names]) => pair(namespace, [...new Set(names)], subject, source))
    .join('---\n');
}

function pair(
  namespace: string,
  services: readonly string[],
  subject: { readonly namespace: string; readonly name: string },
  source: 'endpointslices' | 'endpoints',
): string {
  const slices =
    source === 'endpointslices'
      ? `  - apiGroups: [discovery.k8s.io]
    resources: [endpointslices]
    verbs: [list, watch]`
      : `  - apiGroups: [""]
    resources: [endpoints]
    resourceNames: [${services.join(', ')}]
    verbs: [list, watch]`;
  return `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: steersman
  namespace: ${namespace}
rules:
${slices}
  # Maps a URL's port to the pods', and tells an empty Service from one that does not exist. May be left out.
  - apiGroups: [""]
    resources: [services]
    resourceNames: [${services.join(', ')}]
    verbs: [list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: steersman
  namespace: ${namespace}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: steersman
subjects:
  - kind: ServiceAccount
    name: ${subject.name}
    namespace: ${subject.namespace}
`;
}

export const command: Command = {
  summary: 'print the Kubernetes roles that watching a service needs',
  usage,
  async run(args) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        namespace: { type: 'string' },
        account: { type: 'string' },
        source: { type: 'string', default: 'endpointslices' },
      },
    });
    const { namespace, account, source } = values;
    if (source !== 'endpointslices' && source !== 'endpoints')
      throw new TypeError(`--source must be endpointslices or endpoints, got ${source}`);
    for (const [option, value] of Object.entries({ namespace, account })) {
      const problem = value?.split('/').map(hostProblem).find(Boolean);
      if (problem !== undefined) throw new TypeError(`--${option} ${JSON.stringify(value)} ${problem}`);
    }
    const text = manifests(positionals, {
      source,
      ...(namespace === undefined ? {} : { namespace }),
      ...(account === undefined ? {} : { account }),
    });
    process.stdout.write(text);
    return 0;
  },
};
