import { systemClock } from '../../core/clock.ts';

/** ms of work per turn of the event loop, for all watches together: well under the 10 ms that callers would notice. */
const perTurn = 1;

let until: number | undefined;

/** Whether the work of this turn has used its time, so that the rest has to wait for the next one. */
export function turnSpent(): boolean {
  const now = systemClock.now();
  if (until === undefined) {
    until = now + perTurn;
    setImmediate(() => {
      until = undefined;
    });
  }
  return now >= until;
}

/** Runs a generator to its end, letting the event loop turn whenever its time is used. */
export async function inTurns<T>(work: Generator<undefined, T>): Promise<T> {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    if (turnSpent()) await new Promise((resolve) => setImmediate(resolve));
  }
}
