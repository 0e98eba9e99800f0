/** Undoes a scheduled callback; harmless when it has run. */
export type Cancel = () => void;

/** Monotonic time in ms. `schedule` never keeps the process alive. */
export interface Clock {
  now(): number;
  schedule(delay: number, callback: () => void): Cancel;
}

/** Uniform in [0, 1). */
export type Random = () => number;

/** The longest delay a Node timer takes; a longer one would fire at once. */
export const maxDelay: number = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  schedule(delay, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(delay, 0), maxDelay));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

export const systemRandom: Random = Math.random;

/**
 * Runs the callback after two turns of the event loop: whatever the kernel had ready when we were late
 * has been handled by then.
 */
export function afterTwoTurns(callback: () => void): void {
  setImmediate(() => setImmediate(callback));
}

/** Resolves after `delay` ms of `clock`, or rejects with the signal's reason as soon as it aborts. */
export function wait(clock: Clock, delay: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = (): void => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.schedule(delay, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

let holds = 0;
let holder: NodeJS.Timeout | undefined;

/**
 * Keeps the process alive until the returned function is called: for a pending call whose only
 * work is waiting on a clock, which by itself would let the process exit under its caller.
 */
export function holdProcess(): () => void {
  holder ??= setInterval(() => {}, maxDelay);
  if (++holds === 1) holder.ref();
  let held = true;
  return () => {
    if (!held) return;
    held = false;
    if (--holds === 0) {
      clearInterval(holder);
      holder = undefined;
    }
  };
}
