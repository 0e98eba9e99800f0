import type { Cancel, Clock, Random } from '../core/clock.ts';
import type { Watch } from '../core/resolver.ts';

/** ms between a hint to refresh and the round before it, ±10 %: many failing connections ask once. */
const refreshGap = 1_000;

/**
 * A watch that runs `round` again and again, never two at once, until it is closed. A round reports by itself,
 * never rejects, ends early when its signal aborts, and resolves to the ms until the next one; `hinted` says that a
 * refresh was asked for. The first begins after `watch` has returned.
 */
export function rounds(
  round: (signal: AbortSignal, hinted: boolean) => Promise<number>,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Watch {
  const closing = new AbortController();
  let running: Promise<void> | undefined;
  let cancel: Cancel | undefined;
  let began = 0;
  let due = 0;
  let hinted = false;

  const schedule = (delay: number): void => {
    cancel?.();
    due = clock.now() + delay;
    cancel = clock.schedule(delay, start);
  };
  const start = (): void => {
    cancel = undefined;
    began = clock.now();
    const { signal } = closing;
    running = round(signal, hinted).then((delay) => {
      running = undefined;
      if (!signal.aborted) schedule(delay);
    });
    hinted = false;
  };
  queueMicrotask(() => {
    if (!closing.signal.aborted) start();
  });

  return {
    refresh() {
      if (cancel === undefined) return;
      hinted = true;
      const soonest = began + refreshGap * (0.9 + 0.2 * random());
      if (soonest < due) schedule(Math.max(0, soonest - clock.now()));
    },
    async close() {
      closing.abort();
      cancel?.();
      cancel = undefined;
      await running;
    },
  };
}

/** ms before retry number `failures` (from 1): full jitter below a bound that doubles from `first` to `most`. */
export function backoff(failures: number, first: number, most: number, random: Random): number {
  return random() * Math.min(most, first * 2 ** Math.min(failures - 1, 30));
}
