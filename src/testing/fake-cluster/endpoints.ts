import type { PodView, ServiceView } from './controller.ts';
import { timestamp } from './objects.ts';
import { endpoints } from './resources.ts';
import type { Store } from './store.ts';
import type { Writer } from './writing.ts';

/** The old API holds no more. */
const capacity = 1000;

const trigger = 'endpoints.kubernetes.io/last-change-trigger-time';
const overCapacity = 'endpoints.kubernetes.io/over-capacity';

/** Writes the v1 Endpoints of a Service: one family, terminating pods left out, cut at 1000 addresses. */
export function writeEndpoints(store: Store, writer: Writer, service: ServiceView): void {
  const { name, namespace } = service;
  let room = capacity;
  let cut = false;
  const take = (pods: readonly PodView[]): Record<string, unknown>[] => {
    const taken = pods.slice(0, room);
    cut ||= taken.length < pods.length;
    room -= taken.length;
    return taken.map((pod) => ({
      ip: pod.address,
      ...(service.headless ? { hostname: pod.name } : {}),
      nodeName: pod.node,
      targetRef: { kind: 'Pod', namespace: pod.namespace, name: pod.name, uid: pod.uid },
    }));
  };
  const subsets = service.groups.flatMap(({ ports, pods }) => {
    const live = pods.filter((pod) => !pod.terminating || service.publishNotReady);
    const [ready = [], unready = []] = [true, false].map((wanted) =>
      live.filter((pod) => (pod.serving || service.publishNotReady) === wanted),
    );
    const addresses = take(ready);
    const notReadyAddresses = take(unready);
    if (addresses.length + notReadyAddresses.length === 0) return [];
    return [
      {
        ...(addresses.length > 0 ? { addresses } : {}),
        ...(notReadyAddresses.length > 0 ? { notReadyAddresses } : {}),
        ports: ports.map(({ name: portName, port, protocol, appProtocol }) => ({
          ...(portName === '' ? {} : { name: portName }),
          port,
          protocol,
          ...(appProtocol === undefined ? {} : { appProtocol }),
        })),
      },
    ];
  });
  const current = store.get(endpoints, namespace, name);
  if (current !== undefined && JSON.stringify(current['subsets'] ?? []) === JSON.stringify(subsets)) return;
  const manifest = {
    metadata: {
      name,
      labels: {
        'endpoints.kubernetes.io/managed-by': 'endpoint-controller',
        ...(service.headless ? { 'service.kubernetes.io/headless': '' } : {}),
      },
      annotations: { [trigger]: timestamp(), ...(cut ? { [overCapacity]: 'truncated' } : {}) },
    },
    ...(subsets.length > 0 ? { subsets } : {}),
  };
  if (current === undefined) writer.create(endpoints, namespace, manifest);
  else writer.update(endpoints, namespace, name, manifest);
}
