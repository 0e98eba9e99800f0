import { systemClock } from '../../core/clock.ts';

/** ms of parsing before other work gets its turn: well under the 10 ms at which callers would notice. */
const turn = 2;

/** Runs a generator to its end, letting the event loop turn whenever a slice of work has taken its time. */
export async function inTurns<T>(work: Generator<undefined, T>): Promise<T> {
  let until = systemClock.now() + turn;
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    if (systemClock.now() >= until) {
      await new Promise((resolve) => setImmediate(resolve));
      until = systemClock.now() + turn;
    }
  }
}

/** True once the work of this turn has used its time. */
export function turnBudget(): () => boolean {
  const until = systemClock.now() + turn;
  return () => systemClock.now() >= until;
}
