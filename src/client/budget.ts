/** A shared allowance of retries: what keeps a failing service from being hit several times as hard as a healthy one. */
export interface Budget {
  /** One call was made at `now`. */
  deposit(now: number): void;
  /** Asks for one retry; false when the allowance is used up. */
  withdraw(now: number): boolean;
}

const slots = 10;

/**
 * Finagle's retry budget over a sliding window of ten slots: `ratio` of the calls, and `minPerSecond` besides.
 * https://twitter.github.io/finagle/docs/com/twitter/finagle/service/RetryBudget.html
 */
export function retryBudget(ratio: number, minPerSecond: number, window: number): Budget {
  const width = window / slots;
  const reserve = (minPerSecond * window) / 1_000;
  const deposits = new Array<number>(slots).fill(0);
  const withdrawals = new Array<number>(slots).fill(0);
  let current = Number.NEGATIVE_INFINITY;
  let deposited = 0;
  let withdrawn = 0;

  /** The slot of `now`; what has left the window is forgotten on the way. */
  const slot = (now: number): number => {
    const index = Math.floor(now / width);
    if (index > current) {
      for (let i = Math.max(current + 1, index - slots + 1); i <= index; i++) {
        const at = ((i % slots) + slots) % slots;
        deposited -= deposits[at] as number;
        withdrawn -= withdrawals[at] as number;
        deposits[at] = 0;
        withdrawals[at] = 0;
      }
      current = index;
    }
    return ((current % slots) + slots) % slots;
  };

  return {
    deposit(now) {
      const at = slot(now);
      deposits[at] = (deposits[at] as number) + 1;
      deposited++;
    },
    withdraw(now) {
      const at = slot(now);
      if (withdrawn + 1 > reserve + deposited * ratio) return false;
      withdrawals[at] = (withdrawals[at] as number) + 1;
      withdrawn++;
      return true;
    },
  };
}

/** For those who turn the budget off. */
export const unlimited: Budget = { deposit() {}, withdraw: () => true };
