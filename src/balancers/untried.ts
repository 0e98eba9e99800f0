import type { Backend, Backends } from '../core/backend.ts';

/** The first backend from `start` on, in a circle, that is not in `tried`; the one at `start` when all are. */
export function untriedFrom(
  backends: Backends,
  start: number,
  tried: ReadonlySet<Backend> | undefined,
): Backend {
  const first = backends[start] as Backend;
  if (tried === undefined || !tried.has(first)) return first;
  const count = backends.length;
  for (let step = 1; step < count; step++) {
    const at = start + step;
    const next = backends[at < count ? at : at - count] as Backend;
    if (!tried.has(next)) return next;
  }
  return first;
}

/** Whether the backend at an index is not in `tried`. */
export function untried(backends: Backends, tried: ReadonlySet<Backend>): (index: number) => boolean {
  return (index) => !tried.has(backends[index] as Backend);
}
