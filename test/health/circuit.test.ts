import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Circuit, type CircuitSettings } from '../../src/health/circuit.ts';
import { inPanic, maxEjected } from '../../src/health/ejection.ts';
import { ServiceCircuit } from '../../src/health/service-circuit.ts';
import { slowStartShare } from '../../src/health/slow-start.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';

const defaults: CircuitSettings = {
  consecutive: 5,
  rate: 0.85,
  volume: 50,
  window: 10_000,
  ejection: 5_000,
  maxEjection: 300_000,
};

function make(settings: Partial<CircuitSettings> = {}, mayOpen: () => boolean = () => true) {
  const clock = new FakeClock(50_000);
  let changes = 0;
  const circuit = new Circuit(
    { ...defaults, ...settings },
    { clock, random: () => 0.5, mayOpen, onChange: () => changes++ },
  );
  const fail = (times: number): void => {
    for (let i = 0; i < times; i++) circuit.report(true);
  };
  return { clock, circuit, fail, changes: () => changes };
}

describe('the circuit of an endpoint', () => {
  it('opens at the fifth failure in a row, at once', () => {
    const { circuit, fail } = make();
    fail(4);
    expect(circuit).toMatchObject({ state: 'closed', admits: true });
    fail(1);
    expect(circuit).toMatchObject({ state: 'open', admits: false, epoch: 1 });
    circuit.close();
  });

  it('counts anew after each success', () => {
    const { circuit, fail } = make();
    for (let i = 0; i < 10; i++) {
      fail(4);
      circuit.report(false);
    }
    expect(circuit.state).toBe('closed');
    circuit.close();
  });

  it('opens at 85 % failures of 50 results within the window', () => {
    const { circuit } = make({ consecutive: 1_000 });
    for (let i = 0; i < 50; i++) {
      expect(circuit.state).toBe('closed');
      circuit.report(i >= 8);
    }
    expect(circuit.state).toBe('closed');
    circuit.report(true);
    circuit.report(true);
    circuit.report(true);
    expect(circuit.state).toBe('closed');
    circuit.report(true);
    expect(circuit.state).toBe('open');
    circuit.close();
  });

  it('forgets results when they leave the window', async () => {
    const { circuit, clock, fail } = make({ consecutive: 1_000 });
    fail(49);
    await clock.advance(10_001);
    fail(49);
    expect(circuit.state).toBe('closed');
    fail(1);
    expect(circuit.state).toBe('open');
    circuit.close();
  });

  it('lets one trial through after the ejection, and closes by it', async () => {
    const { circuit, clock, fail } = make();
    fail(5);
    expect(circuit.retryAfter).toBe(5_000);
    await clock.advance(4_999);
    expect(circuit).toMatchObject({ state: 'open', retryAfter: 1 });
    await clock.advance(1);
    expect(circuit).toMatchObject({ state: 'half-open', admits: true, retryAfter: 0 });
    const settle = circuit.trial();
    expect(circuit.admits).toBe(false);
    expect(circuit.trial()).toBeUndefined();
    settle?.('success');
    await clock.advance(0);
    expect(circuit).toMatchObject({ state: 'closed', admits: true });
    settle?.('failure');
    await clock.advance(0);
    expect(circuit.state).toBe('closed');
    circuit.close();
    expect(clock.pending).toBe(0);
  });

  it('ejects for longer each time, up to the limit, and forgets with health', async () => {
    const { circuit, clock, fail } = make({ maxEjection: 12_000 });
    fail(5);
    for (const next of [10_000, 12_000, 12_000]) {
      await clock.advance(circuit.retryAfter);
      circuit.trial()?.('failure');
      await clock.advance(0);
      expect(circuit).toMatchObject({ state: 'open', retryAfter: next });
    }
    await clock.advance(circuit.retryAfter);
    circuit.trial()?.('success');
    await clock.advance(20_000);
    fail(5);
    expect(circuit.retryAfter).toBe(12_000);
    await clock.advance(12_000);
    circuit.trial()?.('success');
    await clock.advance(25_000);
    fail(5);
    expect(circuit.retryAfter).toBe(10_000);
    circuit.close();
    expect(clock.pending).toBe(0);
  });

  it('jitters the ejection by 10 %', () => {
    for (const [random, expected] of [
      [0, 4_500],
      [1, 5_500],
    ] as const) {
      const clock = new FakeClock();
      const circuit = new Circuit(defaults, {
        clock,
        random: () => random,
        mayOpen: () => true,
        onChange() {},
      });
      for (let i = 0; i < 5; i++) circuit.report(true);
      expect(circuit.retryAfter).toBeCloseTo(expected);
      circuit.close();
    }
  });

  it('lets another trial through when one says nothing, or does not end', async () => {
    const { circuit, clock, fail } = make();
    fail(5);
    await clock.advance(5_000);
    circuit.trial()?.('neutral');
    expect(circuit).toMatchObject({ state: 'half-open', admits: true });
    const lost = circuit.trial();
    expect(circuit).toMatchObject({ admits: false, retryAfter: 5_000 });
    await clock.advance(5_000);
    expect(circuit).toMatchObject({ state: 'half-open', admits: true });
    const second = circuit.trial();
    lost?.('success');
    await clock.advance(0);
    expect(circuit.state).toBe('half-open');
    second?.('success');
    await clock.advance(0);
    expect(circuit.state).toBe('closed');
    circuit.close();
  });

  it('opens for longer when a trial fails that was given up', async () => {
    const { circuit, clock, fail } = make();
    fail(5);
    await clock.advance(5_000);
    const slow = circuit.trial();
    await clock.advance(5_000);
    const next = circuit.trial();
    expect(next).toBeTypeOf('function');
    slow?.('failure');
    expect(circuit).toMatchObject({ state: 'open', retryAfter: 10_000 });
    // Nothing that the others bring changes that.
    slow?.('failure');
    next?.('success');
    await clock.advance(9_999);
    expect(circuit.state).toBe('open');
    await clock.advance(1);
    expect(circuit.state).toBe('half-open');
    // A success that comes late does not close it.
    const late = circuit.trial();
    await clock.advance(5_000);
    late?.('success');
    await clock.advance(0);
    expect(circuit.state).toBe('half-open');
    circuit.close();
    expect(clock.pending).toBe(0);
  });

  it('opened anew before it has heard that its trial succeeded stays open', async () => {
    const { circuit, clock, fail } = make({ consecutive: 1 });
    fail(1);
    await clock.advance(5_000);
    circuit.trial()?.('success');
    for (let i = 0; i < 20 && circuit.state !== 'closed'; i++) await null;
    fail(1);
    await clock.advance(0);
    expect(circuit.state).toBe('open');
    await clock.advance(11_000);
    circuit.trial()?.('success');
    await clock.advance(0);
    expect(circuit.state).toBe('closed');
    expect(clock.pending).toBe(0);
    circuit.close();
  });

  it('hears nothing that is reported while it is not closed', async () => {
    const { circuit, clock, fail } = make();
    fail(5);
    circuit.report(false);
    expect(circuit.state).toBe('open');
    await clock.advance(5_000);
    circuit.report(false);
    circuit.report(true);
    expect(circuit.state).toBe('half-open');
    circuit.close();
  });

  it('stays closed while no more may be ejected, and opens with the next failure when one may', () => {
    let may = false;
    const { circuit, fail } = make({}, () => may);
    fail(20);
    expect(circuit.state).toBe('closed');
    may = true;
    fail(1);
    expect(circuit.state).toBe('open');
    circuit.close();
  });

  it('is idle when there is nothing left to remember', async () => {
    const { circuit, clock } = make();
    circuit.report(true);
    circuit.report(false);
    expect(circuit.idle).toBe(false);
    await clock.advance(10_000);
    expect(circuit.idle).toBe(true);
    circuit.close();
  });

  it('is not idle while failures in a row are counted, however far apart they are', async () => {
    const { circuit, clock, fail } = make();
    for (let i = 0; i < 4; i++) {
      fail(1);
      await clock.advance(60_000);
      expect(circuit).toMatchObject({ idle: false, state: 'closed' });
    }
    fail(1);
    expect(circuit.state).toBe('open');
    circuit.close();
  });

  it('has a timer only while there is something in its window', async () => {
    const { circuit, clock, fail } = make();
    expect(clock.pending).toBe(0);
    fail(1);
    expect(clock.pending).toBe(1);
    await clock.advance(9_999);
    expect(clock.pending).toBe(1);
    await clock.advance(1);
    expect(clock.pending).toBe(0);
    fail(1);
    circuit.close();
    expect(clock.pending).toBe(0);
  });

  it('takes a new window at once', async () => {
    const { circuit, clock, fail } = make({ consecutive: 1_000 });
    fail(49);
    circuit.update({ ...defaults, consecutive: 1_000, window: 1_000 });
    await clock.advance(1_000);
    fail(49);
    expect(circuit.state).toBe('closed');
    circuit.close();
  });

  it('is silent once closed for good', async () => {
    const { circuit, clock, fail, changes } = make();
    fail(4);
    circuit.close();
    fail(5);
    await clock.advance(100_000);
    expect(changes()).toBe(0);
    expect(clock.pending).toBe(0);
  });

  it('takes new limits', () => {
    const { circuit, fail } = make();
    fail(3);
    circuit.update({ ...defaults, consecutive: 4 });
    fail(1);
    expect(circuit.state).toBe('open');
    circuit.close();
  });
});

describe('the circuit of a service', () => {
  const settings = { rate: 0.5, volume: 10, window: 10_000, reset: 1_000 };
  const create = (): { clock: FakeClock; circuit: ServiceCircuit } => {
    const clock = new FakeClock();
    return { clock, circuit: new ServiceCircuit(settings, { clock, random: () => 0.5, onChange() {} }) };
  };

  it('opens when half of the calls fail, and says when to come back', async () => {
    const { clock, circuit } = create();
    for (let i = 0; i < 10; i++) circuit.admit()?.(i % 2 === 0 ? 'success' : 'failure');
    expect(circuit.state).toBe('open');
    expect(circuit.admit()).toBeUndefined();
    expect(circuit.retryAfter).toBe(1_000);
    await clock.advance(1_000);
    const trial = circuit.admit();
    expect(circuit.admit()).toBeUndefined();
    expect(circuit.retryAfter).toBe(1_000);
    trial?.('success');
    await clock.advance(0);
    expect(circuit.admit()).toBeTypeOf('function');
    circuit.close();
  });

  it('does not count what says nothing, nor what began before it opened', async () => {
    const { clock, circuit } = create();
    const early = Array.from({ length: 20 }, () => circuit.admit());
    for (let i = 0; i < 100; i++) circuit.admit()?.('neutral');
    expect(circuit.state).toBe('closed');
    for (let i = 0; i < 10; i++) early[i]?.('failure');
    expect(circuit.state).toBe('open');
    await clock.advance(1_000);
    circuit.admit()?.('success');
    await clock.advance(0);
    for (let i = 10; i < 20; i++) early[i]?.('failure');
    expect(circuit.state).toBe('closed');
    circuit.close();
  });
});

describe('ejection', () => {
  it('leaves at least half of the endpoints, and never ejects the last', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10_000 }), (known) => {
        const most = maxEjected(known);
        expect(most).toBeLessThanOrEqual(Math.max(0, known - 1));
        expect(most).toBeLessThanOrEqual(Math.max(1, known / 2));
        if (known >= 2) expect(most).toBeGreaterThanOrEqual(1);
      }),
    );
    expect([0, 1, 2, 3, 5, 10].map(maxEjected)).toEqual([0, 0, 1, 1, 2, 5]);
  });

  it('is ignored below the panic threshold', () => {
    expect(inPanic(2, 5, 0.5)).toBe(true);
    expect(inPanic(5, 10, 0.5)).toBe(false);
    expect(inPanic(0, 0, 0.5)).toBe(false);
    expect(inPanic(0, 5, 0)).toBe(false);
  });
});

describe('slow start', () => {
  it('grows from a tenth to all, in proportion to age', () => {
    expect([0, 1_000, 5_000, 10_000, 20_000].map((age) => slowStartShare(age, 10_000))).toEqual([
      0.1, 0.1, 0.5, 1, 1,
    ]);
  });
});
