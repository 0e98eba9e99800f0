import { expect, it } from 'vitest';
import type { LiveBackend } from '../../src/client/backend.ts';
import { Fleet } from '../../src/client/fleet.ts';
import { type Judge, Lease } from '../../src/client/lease.ts';
import type { Settings } from '../../src/client/settings.ts';
import { settingsOf } from '../../src/client/settings.ts';
import type { Outcome } from '../../src/core/outcome.ts';
import { maxEjected } from '../../src/health/ejection.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { endpoint } from '../../src/testing/values.ts';

const histories = 100_000;
const steps = 24;

const good: Outcome = { kind: 'response', status: 200, latency: 1 };
const bad: Outcome = { kind: 'response', status: 503, latency: 1 };
const none: Outcome = { kind: 'cancelled' };

/** One use of a backend, and whether it is the trial of a half-open circuit. */
interface Use {
  readonly lease: Lease;
  readonly backend: LiveBackend;
  readonly trial: boolean;
}

/** Random sets, results in any order, and time; what must hold after each step is checked on the way. */
class History implements Judge {
  readonly random: () => number;
  readonly clock: FakeClock = new FakeClock();
  readonly fleet: Fleet;
  readonly uses: Use[] = [];
  /** Backends whose trial has succeeded and which may be told restored. */
  readonly earned: Set<string> = new Set();
  opened = 0;
  restored = 0;

  constructor(seed: number) {
    this.random = seeded(seed);
    const { random, clock } = this;
    const settings: Settings = settingsOf({
      panicThreshold: [0, 0.5, 1][this.below(3)] as number,
      circuit: { endpoint: { consecutive: 1 + this.below(3), volume: 4, rate: 0.5, window: 1_000 } },
    });
    this.fleet = new Fleet({
      clock,
      random,
      settings: () => settings,
      connect: () => {
        throw new Error('nothing is connected here');
      },
      ejected: () => {
        this.opened++;
      },
      restored: ({ id }) => {
        this.restored++;
        // Only a trial closes a circuit: nothing that comes late from before does.
        if (!this.earned.delete(id)) throw new Error(`${id} was restored without a trial`);
      },
    });
  }

  below(n: number): number {
    return Math.floor(this.random() * n);
  }

  begin(): undefined {
    return undefined;
  }

  report(backend: LiveBackend, failed: boolean, epoch: number): void {
    const open = this.notClosed();
    this.fleet.judge(backend, failed, epoch);
    if (this.notClosed() > open && this.notClosed() > maxEjected(this.fleet.size)) {
      throw new Error(`${this.notClosed()} of ${this.fleet.size} are ejected`);
    }
  }

  balancerFailed(): void {}

  known(): { circuit: string; state: string }[] {
    return this.fleet.snapshot().filter(({ state }) => state !== 'draining');
  }

  notClosed(): number {
    return this.known().filter(({ circuit }) => circuit !== 'closed').length;
  }

  /** Sets keep some of the members, and are never empty. */
  reconcile(): void {
    const first = this.below(4);
    const ids = Array.from({ length: 1 + this.below(6) }, (_, i) => `10.0.0.${first + i}`);
    this.fleet.reconcile(ids.map((id) => endpoint({ id, address: id })));
  }

  use(): void {
    const { eligible } = this.fleet;
    const backend = eligible[this.below(eligible.length)] as LiveBackend;
    const { circuit } = backend;
    const trial = circuit !== undefined && circuit.state === 'half-open' && circuit.admits;
    const lease = new Lease();
    lease.begin(backend, this);
    this.uses.push({ lease, backend, trial });
    if (trial && circuit.admits) throw new Error('a second trial may begin');
  }

  end(outcome: Outcome): void {
    const [use] = this.uses.splice(this.below(this.uses.length), 1);
    if (use === undefined) return;
    if (use.trial && outcome === good) this.earned.add(use.backend.endpoint.id);
    use.lease.release(outcome);
  }

  async step(): Promise<void> {
    const dice = this.random();
    if (dice < 0.08) this.reconcile();
    else if (dice < 0.5) this.use();
    else if (dice < 0.7) this.end(bad);
    else if (dice < 0.8) this.end(good);
    else if (dice < 0.83) this.end(none);
    else await this.clock.advance(this.random() < 0.8 ? this.below(2_000) : this.below(30_000));
  }

  check(): void {
    const { eligible, size } = this.fleet;
    if (size === 0 || eligible.length === 0) throw new Error('nobody is left to pick');
    if (!eligible.every((backend) => this.fleet.has(backend))) throw new Error('a stranger is eligible');
    // No timer but those that end an ejection, or give a trial up, and the ticker that all circuits share.
    if (this.clock.pending > this.notClosed() + 1) {
      throw new Error(`${this.clock.pending} timers for ${this.notClosed()} circuits that are not closed`);
    }
  }

  /** Everything that was ejected comes back once all is well, though uses from before never end: trials neither. */
  async heal(): Promise<void> {
    const hung = this.uses.splice(0);
    // The result of a trial takes some microtasks to arrive.
    await this.clock.advance(0);
    for (let i = 0; i < 100 && this.notClosed() > 0; i++) {
      await this.clock.advance(10_000);
      for (let n = this.fleet.size * 4; n > 0; n--) this.use();
      while (this.uses.length > 0) this.end(good);
      await this.clock.advance(0);
    }
    if (this.notClosed() > 0) throw new Error('a circuit did not close');
    this.check();
    if (this.fleet.panic || this.fleet.eligible.length !== this.fleet.size)
      throw new Error('not all are back');
    for (const { lease } of hung) lease.release(none);
    this.check();
  }
}

it(`eligibility and circuits hold what they promise, over ${histories} random histories`, {
  timeout: 120_000,
}, async () => {
  let opened = 0;
  let restored = 0;
  for (let seed = 0; seed < histories; seed++) {
    const history = new History(seed);
    try {
      history.reconcile();
      for (let i = 0; i < steps; i++) {
        await history.step();
        history.check();
      }
      await history.heal();
      await history.fleet.close();
      expect(history.clock.pending).toBe(0);
    } catch (error) {
      throw new Error(`history ${seed}: ${(error as Error).message}`, { cause: error });
    }
    opened += history.opened;
    restored += history.restored;
  }
  console.log(`${histories} histories: ${opened} ejections, ${restored} restored`);
  expect(opened).toBeGreaterThan(histories / 10);
  expect(restored).toBeGreaterThan(histories / 100);
});
