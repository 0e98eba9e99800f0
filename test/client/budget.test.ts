import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { retryBudget, unlimited } from '../../src/client/budget.ts';

describe('the retry budget', () => {
  it('allows 20 % and 10 per second: 1,000 calls per second that all fail get 1,900 to 2,300 retries in 10 s', () => {
    const budget = retryBudget(0.2, 10, 10_000);
    let granted = 0;
    for (let i = 0; i < 10_000; i++) {
      budget.deposit(i);
      for (let retry = 0; retry < 2; retry++) if (budget.withdraw(i)) granted++;
    }
    expect(granted).toBeGreaterThanOrEqual(1_900);
    expect(granted).toBeLessThanOrEqual(2_300);
  });

  it('blocks none of the retries of 5 % failures', () => {
    const budget = retryBudget(0.2, 10, 10_000);
    for (let i = 0; i < 20_000; i++) {
      budget.deposit(i);
      if (i % 20 === 0) expect(budget.withdraw(i)).toBe(true);
    }
  });

  it('has the floor from the start, and again when the window has passed', () => {
    const budget = retryBudget(0, 10, 10_000);
    const drain = (now: number): number => {
      let granted = 0;
      while (budget.withdraw(now)) granted++;
      return granted;
    };
    expect(drain(0)).toBe(100);
    expect(drain(9_999)).toBe(0);
    expect(drain(10_000)).toBe(100);
    expect(drain(1e12)).toBe(100);
  });

  it('never grants more than share and floor allow within any window', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 900 }), fc.boolean()), { maxLength: 300 }),
        (steps) => {
          const budget = retryBudget(0.2, 1, 10_000);
          const calls: number[] = [];
          const retries: number[] = [];
          let now = 0;
          for (const [wait, isCall] of steps) {
            now += wait;
            if (isCall) {
              calls.push(now);
              budget.deposit(now);
            } else if (budget.withdraw(now)) {
              retries.push(now);
              // Slots are a tenth of the window: what it counts is at least nine of them.
              const inWindow = (times: number[], width: number): number =>
                times.filter((t) => t > now - width).length;
              expect(inWindow(retries, 9_000)).toBeLessThanOrEqual(10 + 0.2 * inWindow(calls, 10_001) + 1e-9);
            }
          }
        },
      ),
    );
  });

  it('can be without limit', () => {
    for (let i = 0; i < 1_000; i++) expect(unlimited.withdraw(i)).toBe(true);
  });
});
