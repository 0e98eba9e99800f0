import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type Client, createClient } from '../../src/client/client.ts';
import type { Random } from '../../src/core/clock.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { Arena } from './arena.ts';
import { pause } from './fleet.ts';
import { History, type Verdict } from './history.ts';
import { troubles } from './troubles.ts';

export interface ChaosOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly pods: number;
  /** Callers at a time, half of them with POSTs. */
  readonly callers: number;
}

export interface ChaosReport extends Verdict {
  readonly seed: number;
  readonly faults: number;
  /** How often each fault was injected. */
  readonly injected: Readonly<Record<string, number>>;
  /** ms that our own event loop stood still at most: by a fault of ours, or for want of a CPU. */
  readonly stall: number;
  /** What must not be, in words: empty when the run has passed. */
  readonly violations: readonly string[];
}

const total = 2_000;
/** Calls may take this much longer than their deadline: the machine is shared with the pods and the proxies. */
const slack = 500;
/** ms between two calls of a caller. */
const gap = 20;

/** Calls under random trouble, drawn from the seed, and what came of them. */
export async function chaos({ seed, seconds, pods, callers }: ChaosOptions): Promise<ChaosReport> {
  const random = seeded(seed);
  const violations: string[] = [];
  const before = sockets();
  const onWarning = (warning: Error): void =>
    void violations.push(`a warning: ${warning.name}: ${warning.message}`);
  const onRejection = (reason: unknown): void =>
    void violations.push(`an unhandled rejection: ${String(reason)}`);
  process.on('warning', onWarning);
  process.on('unhandledRejection', onRejection);
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  using history = new History();
  const injected: Record<string, number> = {};
  try {
    await using arena = new Arena(history.log);
    await Promise.all(Array.from({ length: pods }, () => arena.add()));
    arena.tell();
    const client = createClient('http://orders.shop', {
      resolver: arena.resolver,
      timeout: { total, attempt: 500 },
      pool: { drainTimeout: 2_000 },
      random: seeded(seed + 1),
    });
    await client.ready();
    const until = performance.now() + seconds * 1_000;
    const load = Array.from({ length: callers }, (_, i) =>
      call(client, history, i % 2 === 0 ? 'GET' : 'POST', until),
    );
    const trouble = disturb(arena, random, until, injected);
    await Promise.all([...load, trouble]);
    await client.close();
    if (client.snapshot().endpoints.length > 0) violations.push('endpoints are left after close()');
  } finally {
    process.off('warning', onWarning);
    process.off('unhandledRejection', onRejection);
  }
  const verdict = history.check();
  // The kernel takes a moment to close the proxies' own.
  for (let i = 0; i < 20 && sockets() > before; i++) await pause(50);
  const left = sockets() - before;
  if (left > 0) violations.push(`${left} sockets are left`);
  if (history.pending.size > 0) violations.push(`${history.pending.size} calls never ended`);
  if (verdict.twice.length > 0) violations.push(`POSTs were executed twice: ${verdict.twice.join(', ')}`);
  if (verdict.missing.length > 0)
    violations.push(`calls were answered, not executed: ${verdict.missing.join(', ')}`);
  if (verdict.wronglyUnsent.length > 0) {
    violations.push(`POSTs were called unsent, and executed: ${verdict.wronglyUnsent.join(', ')}`);
  }
  delay.disable();
  const stall = delay.max / 1e6;
  // What our own stalls take is given back to a call, at most doubled; and nobody is told anything during the last.
  if (verdict.slowest > total + slack + Math.min(3 * stall, total) + stall) {
    violations.push(`a call took ${Math.round(verdict.slowest)} ms`);
  }
  const faults = Object.values(injected).reduce((sum, count) => sum + count, 0);
  return { seed, faults, injected, stall, violations, ...verdict };
}

/** TCP connections of this process, those that are being made included. */
function sockets(): number {
  return process.getActiveResourcesInfo().filter((kind) => /^TCP/.test(kind)).length;
}

async function call(client: Client, history: History, method: 'GET' | 'POST', until: number): Promise<void> {
  while (performance.now() < until) {
    await history.call(client, method);
    await pause(gap);
  }
}

/** Up to two pods are in trouble at a time. */
async function disturb(
  arena: Arena,
  random: Random,
  until: number,
  injected: Record<string, number>,
): Promise<void> {
  const names = Object.keys(troubles);
  const lane = async (): Promise<void> => {
    while (performance.now() < until) {
      await pause(100 + 300 * random());
      const healthy = [...arena.members].filter(({ busy }) => !busy);
      const member = healthy[Math.floor(random() * healthy.length)];
      const name = names[Math.floor(random() * names.length)] as string;
      if (member === undefined || healthy.length < 3) continue;
      member.busy = true;
      injected[name] = (injected[name] ?? 0) + 1;
      await troubles[name]?.(member, arena, 300 + 1_200 * random());
      member.busy = false;
    }
  };
  await Promise.all([lane(), lane()]);
}
