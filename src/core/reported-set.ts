import type { Endpoint } from './endpoint.ts';

/** What is wrong with a reported set, or undefined: a user's resolver may report anything. */
export function setProblem(endpoints: unknown): string | undefined {
  if (!Array.isArray(endpoints)) return 'no array of endpoints';
  for (const endpoint of endpoints as readonly Partial<Endpoint>[]) {
    if (typeof endpoint !== 'object' || endpoint === null)
      return `an endpoint that is no object: ${String(endpoint)}`;
    const { id, address, port } = endpoint;
    if (typeof id !== 'string' || id === '') return 'an endpoint without an id';
    if (typeof address !== 'string' || address === '') return `an endpoint without an address: ${id}`;
    if (!Number.isInteger(port) || (port as number) < 1 || (port as number) > 65_535) {
      return `an endpoint whose port is no integer between 1 and 65535: ${id}`;
    }
  }
  return undefined;
}
