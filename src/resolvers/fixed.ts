import type { Resolver } from '../core/resolver.ts';
import { type EndpointEntry, parseEntries, toEndpoints } from './entries.ts';
import { once } from './once.ts';

/**
 * Always the same endpoints: `'10.0.0.1:8080'`, `'[fd00::1]:8080'`, `'10.0.0.1'` or objects. The same address and
 * port twice counts once; an empty list is an empty set.
 *
 * @throws {TypeError | RangeError} at construction, naming the entry that is no IP address or whose port is out of
 * bounds; from `watch` when an entry has no port and the target's is only a name.
 */
export function fixed(endpoints: readonly (string | EndpointEntry)[]): Resolver {
  const entries = parseEntries(endpoints, 'fixed: endpoints');
  return {
    watch(target, listener) {
      const set = toEndpoints(entries, target);
      return once(() => listener.onEndpoints(set, { source: 'fixed' }));
    },
  };
}
