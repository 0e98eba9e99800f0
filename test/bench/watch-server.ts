/** An API server in a process of its own, so that its work is not taken for the client's: 10,000 endpoints in 100 slices. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const sliceCount = 100;
export const perSlice = 100;

/** One slice as the endpointslice controller writes it, managedFields and all. */
export function sliceObject(index: number, version: number, unready = -1): object {
  return {
    metadata: {
      name: `orders-${index}`,
      generateName: 'orders-',
      namespace: 'shop',
      uid: `313844a4-a1bb-47bc-a6eb-${String(index).padStart(12, '0')}`,
      resourceVersion: String(version),
      generation: version,
      creationTimestamp: '2026-11-23T07:43:17Z',
      labels: {
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        'kubernetes.io/service-name': 'orders',
      },
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'Service',
          name: 'orders',
          uid: '7064d711-d999-468b-8f39-8aa30787d806',
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
      managedFields: [
        {
          manager: 'kube-controller-manager',
          operation: 'Update',
          apiVersion: 'discovery.k8s.io/v1',
          time: '2026-11-23T07:43:17Z',
          fieldsType: 'FieldsV1',
          fieldsV1: {
            'f:addressType': {},
            'f:endpoints': {},
            'f:metadata': { 'f:labels': { '.': {} } },
            'f:ports': {},
          },
        },
      ],
    },
    addressType: 'IPv4',
    endpoints: Array.from({ length: perSlice }, (_, i) => {
      const pod = index * perSlice + i;
      const ready = i !== unready;
      return {
        addresses: [`10.${(pod >> 16) & 255}.${(pod >> 8) & 255}.${pod & 255}`],
        conditions: { ready, serving: ready, terminating: false },
        targetRef: {
          kind: 'Pod',
          namespace: 'shop',
          name: `orders-7d270ad0-${pod}`,
          uid: `7d270ad0-a710-4907-9a75-${String(pod).padStart(12, '0')}`,
        },
        nodeName: `node-${pod % 500}`,
        zone: `zone-${'abc'[pod % 3]}`,
      };
    }),
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
  };
}

export function eventLine(type: string, object: object): string {
  return `${JSON.stringify({ type, object: { kind: 'EndpointSlice', apiVersion: 'discovery.k8s.io/v1', ...object } })}\n`;
}

if (process.send !== undefined) {
  const tell = (message: Readonly<Record<string, number>>): void => void process.send?.(message);
  const slices = Array.from({ length: sliceCount }, (_, i) => sliceObject(i, 1));
  const initialEnd = eventLine('BOOKMARK', {
    metadata: { resourceVersion: '1', annotations: { 'k8s.io/initial-events-end': 'true' } },
    addressType: '',
    endpoints: null,
    ports: null,
  });
  const initial = Buffer.from(slices.map((slice) => eventLine('ADDED', slice)).join('') + initialEnd);
  const list = Buffer.from(
    JSON.stringify({
      kind: 'EndpointSliceList',
      apiVersion: 'discovery.k8s.io/v1',
      metadata: { resourceVersion: '1' },
      items: slices,
    }),
  );
  const open = new Set<ServerResponse>();
  let streaming = true;
  let version = 1;
  let expired = false;

  const server = createServer((request, response) => {
    const { searchParams, pathname } = new URL(request.url ?? '', 'http://api');
    const refuse = (code: number): void => {
      response
        .writeHead(code, { 'content-type': 'application/json' })
        .end(JSON.stringify({ kind: 'Status', message: 'no', code }));
    };
    if (pathname.endsWith('/services')) return refuse(403);
    const lists = searchParams.has('sendInitialEvents');
    if (lists && !streaming) return refuse(422);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (!searchParams.get('labelSelector')?.endsWith('=orders')) {
      if (lists) response.write(initialEnd);
      else if (!searchParams.has('watch')) response.end('{"metadata":{"resourceVersion":"1"},"items":[]}');
      return;
    }
    if (!searchParams.has('watch')) return void response.end(list);
    if (expired && !lists) {
      expired = false;
      return void response.end(eventLine('ERROR', { code: 410, message: 'too old resource version' }));
    }
    if (lists) {
      response.write(initial);
      tell({ listed: performance.timeOrigin + performance.now() });
    }
    open.add(response);
    response.on('close', () => open.delete(response));
  });
  server.listen(0, '127.0.0.1', () => tell({ port: (server.address() as AddressInfo).port }));
  process.on('message', (message: { do: string; index?: number; unready?: number; streaming?: boolean }) => {
    if (message.do === 'streaming') streaming = message.streaming === true;
    if (message.do === 'flip') {
      const line = eventLine('MODIFIED', sliceObject(message.index ?? 0, ++version, message.unready));
      for (const response of open) response.write(line);
      tell({ flipped: performance.timeOrigin + performance.now() });
    }
    if (message.do === 'expire') {
      const gone = eventLine('ERROR', { code: 410, message: 'too old resource version' });
      for (const response of open) response.end(gone);
      tell({ expired: performance.timeOrigin + performance.now() });
    }
    if (message.do === 'close') {
      server.closeAllConnections();
      server.close();
      process.disconnect();
    }
  });
}
