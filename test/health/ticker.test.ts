import { describe, expect, it } from 'vitest';
import { Circuit } from '../../src/health/circuit.ts';
import { Ticker } from '../../src/health/ticker.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';

describe('a ticker', () => {
  it('is one timer for all who ask for the same period, and none once they have gone', async () => {
    const clock = new FakeClock(1_234);
    const heard: string[] = [];
    const stops = ['a', 'b', 'c'].map((name) => Ticker.every(clock, 2_000, () => heard.push(name)));
    expect(clock.pending).toBe(1);
    await clock.advance(4_000);
    expect(heard).toEqual(['a', 'b', 'c', 'a', 'b', 'c']);
    for (const stop of stops) stop();
    expect(clock.pending).toBe(0);
    for (const stop of stops) stop();
    await clock.advance(10_000);
    expect(heard).toHaveLength(6);
  });

  it('has a timer for each period, and for each clock', () => {
    const [a, b] = [new FakeClock(), new FakeClock()];
    const stops = [Ticker.every(a, 1, () => {}), Ticker.every(a, 2, () => {}), Ticker.every(b, 1, () => {})];
    expect([a.pending, b.pending]).toEqual([2, 1]);
    for (const stop of stops) stop();
    expect([a.pending, b.pending]).toEqual([0, 0]);
  });

  it('tells how many periods a blocked event loop has missed, and keeps its phase', async () => {
    let now = 0;
    let wake: (() => void) | undefined;
    const delays: number[] = [];
    const periods: number[] = [];
    const clock = {
      now: () => now,
      schedule(delay: number, callback: () => void) {
        delays.push(delay);
        wake = callback;
        return () => {};
      },
    };
    const stop = Ticker.every(clock, 100, (passed) => periods.push(passed));
    for (const at of [101, 455, 500]) {
      now = at;
      wake?.();
    }
    expect(periods).toEqual([1, 3, 1]);
    expect(delays).toEqual([100, 99, 45, 100]);
    stop();
  });

  it('leaves out who goes while it ticks', async () => {
    const clock = new FakeClock();
    let heard = 0;
    const stopFirst = Ticker.every(clock, 10, () => stopSecond());
    const stopSecond = Ticker.every(clock, 10, () => heard++);
    await clock.advance(50);
    expect(heard).toBe(0);
    stopFirst();
    expect(clock.pending).toBe(0);
  });

  it('rotates the windows of a thousand circuits with one timer', async () => {
    const clock = new FakeClock();
    const settings = {
      consecutive: 1_000,
      rate: 0.85,
      volume: 50,
      window: 10_000,
      ejection: 5_000,
      maxEjection: 300_000,
    };
    const circuits = Array.from({ length: 1_000 }, () => {
      const context = { clock, random: () => 0.5, mayOpen: () => true, onChange() {} };
      const circuit = new Circuit(settings, context);
      for (let i = 0; i < 49; i++) circuit.report(true);
      return circuit;
    });
    expect(clock.pending).toBe(1);
    await clock.advance(10_000);
    expect(clock.pending).toBe(0);
    for (const circuit of circuits) {
      circuit.report(true);
      expect(circuit.state).toBe('closed');
      circuit.close();
    }
    expect(clock.pending).toBe(0);
  });
});
