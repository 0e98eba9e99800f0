import type { Backend } from '../core/backend.ts';
import { addressOf, type Endpoint } from '../core/endpoint.ts';
import { integer, object, string } from '../core/options.ts';

const place = /^(?:\[([^\]]+)\]|([^\s:/[\]]+))(?::(\d+))?$/;
const checkPort = integer(0, 65_535);

/**
 * An endpoint from `'10.0.0.1:8080'` or from some of its fields; port 80 and an id of `address:port` where not told.
 *
 * @throws {TypeError | RangeError} for what is no address, or no port.
 */
export function endpoint(from: string | (Partial<Endpoint> & { readonly address: string })): Endpoint {
  if (typeof from === 'string') {
    const [match, ipv6, address = ipv6, digits = '80'] = place.exec(from) ?? [];
    if (match === undefined || address === undefined)
      throw new TypeError(
        `endpoint: ${JSON.stringify(from)} is no address such as '10.0.0.1:8080' or '[::1]:80'`,
      );
    return endpoint({ address, port: Number(digits) });
  }
  object(from, 'endpoint');
  string(from.address, 'endpoint.address');
  const { port = 80 } = from;
  checkPort(port, 'endpoint.port');
  return { ...from, id: from.id ?? addressOf(from.address, port), port };
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
