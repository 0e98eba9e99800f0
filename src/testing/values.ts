import type { Backend } from '../core/backend.ts';
import { addressOf, type Endpoint } from '../core/endpoint.ts';

/** An endpoint from `'10.0.0.1:8080'` or from some of its fields; port 80 and an id of `address:port` where not told. */
export function endpoint(from: string | (Partial<Endpoint> & { readonly address: string })): Endpoint {
  if (typeof from !== 'string') {
    const port = from.port ?? 80;
    return { ...from, id: from.id ?? addressOf(from.address, port), port };
  }
  const url = new URL(`http://${from}`);
  const address = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? 80 : Number(url.port);
  return { id: addressOf(address, port), address, port };
}

/** A backend whose numbers the test sets. */
export interface FakeBackend extends Backend {
  endpoint: Endpoint;
  inflight: number;
  latency: number | undefined;
  age: number;
}

/** A backend at rest, at the given endpoint, with some of its numbers changed. */
export function backend(
  at: string | Endpoint = '10.0.0.1:80',
  stats: Partial<FakeBackend> = {},
): FakeBackend {
  return {
    endpoint: typeof at === 'string' ? endpoint(at) : at,
    inflight: 0,
    latency: undefined,
    age: 60_000,
    ...stats,
  };
}
