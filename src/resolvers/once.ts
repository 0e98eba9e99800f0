import type { Watch } from '../core/resolver.ts';

/** A watch with one thing to say, once `watch` has returned. */
export function once(report: () => void): Watch {
  let closed = false;
  queueMicrotask(() => {
    if (!closed) report();
  });
  return {
    refresh() {},
    async close() {
      closed = true;
    },
  };
}
