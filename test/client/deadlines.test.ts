import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Deadlines, type Due } from '../../src/client/deadlines.ts';
import { type Clock, systemClock } from '../../src/core/clock.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';

class Entry implements Due {
  slot = -1;
  previous: Due | undefined;
  next: Due | undefined;
  due: number;
  expired: { at: number; late: number } | undefined;
  readonly #clock: Clock;

  constructor(clock: Clock, due: number) {
    this.#clock = clock;
    this.due = due;
  }

  expire(late: number): void {
    if (this.expired !== undefined) throw new Error('expired twice');
    this.expired = { at: this.#clock.now(), late };
  }
}

describe('Deadlines', () => {
  it('expires each entry once, never early and at most 8 ms late, and those that were removed never', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            wait: fc.integer({ min: 0, max: 400 }),
            delay: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 40_000 })),
            remove: fc.boolean(),
            after: fc.integer({ min: 0, max: 400 }),
          }),
          { maxLength: 30 },
        ),
        async (steps) => {
          const clock = new FakeClock(12_345.6);
          const deadlines = new Deadlines(clock);
          const entries: { entry: Entry; removedAt: number | undefined }[] = [];
          for (const { wait, delay, remove, after } of steps) {
            await clock.advance(wait);
            const entry = new Entry(clock, clock.now() + delay);
            deadlines.add(entry);
            const record: { entry: Entry; removedAt: number | undefined } = { entry, removedAt: undefined };
            entries.push(record);
            if (!remove) continue;
            await clock.advance(after);
            if (entry.expired === undefined) record.removedAt = clock.now();
            deadlines.remove(entry);
          }
          await clock.advance(50_000);
          for (const { entry, removedAt } of entries) {
            if (removedAt !== undefined) {
              expect(entry.expired).toBeUndefined();
              continue;
            }
            expect(entry.expired?.at).toBeGreaterThanOrEqual(entry.due);
            expect(entry.expired?.at).toBeLessThanOrEqual(entry.due + 8.01);
          }
          expect(deadlines.size).toBe(0);
          deadlines.rest();
          expect(clock.pending).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('expires what is due when it is added at once, and does not call that late, nor what else is due', async () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    const [long, other] = [new Entry(clock, 60_000), new Entry(clock, 5_000)];
    deadlines.add(long);
    deadlines.add(other);
    await clock.advance(4_999);
    const overdue = new Entry(clock, 4_000);
    deadlines.add(overdue);
    await clock.advance(1);
    expect(overdue.expired).toEqual({ at: 4_999, late: 0 });
    expect(other.expired).toEqual({ at: 5_000, late: 0 });
  });

  it('lets an expired entry add itself again', async () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    const times: number[] = [];
    const entry: Due = {
      due: 100,
      slot: -1,
      previous: undefined,
      next: undefined,
      expire() {
        times.push(clock.now());
        if (times.length === 3) return;
        entry.due = clock.now() + 100;
        deadlines.add(entry);
      },
    };
    deadlines.add(entry);
    await clock.advance(1_000);
    expect(times).toHaveLength(3);
  });

  it('keeps one timer for any number of entries, and none at rest', () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    const entries = Array.from({ length: 10_000 }, (_, i) => new Entry(clock, 1_000 + (i % 977)));
    for (const entry of entries) deadlines.add(entry);
    expect(clock.pending).toBe(1);
    deadlines.rest();
    expect(clock.pending).toBe(1);
    for (const entry of entries) deadlines.remove(entry);
    deadlines.rest();
    expect(clock.pending).toBe(0);
  });

  it('never takes a deadline without end', () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    deadlines.add(new Entry(clock, Number.POSITIVE_INFINITY));
    expect(deadlines.size).toBe(0);
    expect(clock.pending).toBe(0);
  });

  it('says that it is late, two turns after a blocked loop, and only then', async () => {
    const deadlines = new Deadlines(systemClock);
    const entry = new Entry(systemClock, systemClock.now() + 20);
    deadlines.add(entry);
    const turns: string[] = [];
    const until = performance.now() + 150;
    while (performance.now() < until);
    setImmediate(() => turns.push(entry.expired === undefined ? 'waiting' : 'expired'));
    await expect.poll(() => entry.expired).toBeDefined();
    expect(turns).toEqual(['waiting']);
    expect(entry.expired?.late).toBeGreaterThan(100);

    const punctual = new Entry(systemClock, systemClock.now() + 20);
    deadlines.add(punctual);
    await expect.poll(() => punctual.expired).toBeDefined();
    deadlines.rest();
  });
});
