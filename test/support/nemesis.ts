import { type Client, createClient } from '../../src/client/client.ts';
import type { Random } from '../../src/core/clock.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { type Fault, FaultProxy } from './fault-proxy.ts';
import { History, type Verdict } from './history.ts';
import { PodProcess } from './pod-process.ts';

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
  /** What must not be, in words: empty when the run has passed. */
  readonly violations: readonly string[];
}

const total = 2_000;
/** Calls may take this much longer than their deadline: the machine is shared with the pods and the proxies. */
const slack = 500;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Member {
  pod: PodProcess;
  proxy: FaultProxy;
  busy: boolean;
}

/** Something that goes wrong with one pod, and is mended again. */
type Trouble = (member: Member, arena: Arena, ms: number) => Promise<void>;

function network(fault: Fault): Trouble {
  return async ({ proxy }, _, ms) => {
    await proxy.inject(fault);
    await pause(ms);
    await proxy.inject({ kind: 'none' });
  };
}

const troubles: Readonly<Record<string, Trouble>> = {
  latency: network({ kind: 'latency', ms: 80 }),
  bandwidth: network({ kind: 'bandwidth', bytesPerMs: 2 }),
  slicer: network({ kind: 'slicer', bytes: 16 }),
  'slow close': network({ kind: 'slow close', ms: 300 }),
  reset: network({ kind: 'reset' }),
  limit: network({ kind: 'limit', bytes: 2_000 }),
  'half-open': network({ kind: 'half-open' }),
  down: network({ kind: 'down' }),
  stopped: async ({ pod }, _, ms) => {
    pod.signal('SIGSTOP');
    await pause(ms);
    pod.signal('SIGCONT');
  },
  slow: async ({ pod }, _, ms) => {
    pod.behave({ work: 300 });
    await pause(ms);
    pod.behave({ work: 5 });
  },
  'answers 503': async ({ pod }, _, ms) => {
    pod.behave({ status: 503 });
    await pause(ms);
    pod.behave({ work: 5 });
  },
  killed: async (member, arena, ms) => {
    member.pod.signal('SIGKILL');
    await pause(ms / 2);
    await arena.replace(member);
  },
  'rolled gracefully': async (member, arena) => {
    await arena.retire(member, 400);
  },
  'scaled down abruptly': async (member, arena) => {
    await arena.retire(member, 0);
  },
};

/** The pods, what stands before them, and what the client is told of them. */
class Arena implements AsyncDisposable {
  readonly members: Set<Member> = new Set();
  readonly resolver: FakeResolver = new FakeResolver();
  readonly #log: string;
  readonly #gone: Promise<unknown>[] = [];

  constructor(log: string) {
    this.#log = log;
  }

  async add(): Promise<Member> {
    const pod = await PodProcess.start({ kind: 'http', log: this.#log, work: 5, onTerm: 'exit' });
    const member = { pod, proxy: await FaultProxy.start(pod.endpoint), busy: false };
    this.members.add(member);
    return member;
  }

  tell(without?: Member): void {
    const endpoints: Endpoint[] = [];
    for (const member of this.members) if (member !== without) endpoints.push(member.proxy.endpoint);
    this.resolver.set(endpoints);
  }

  /** Another pod in the place of one that is dead. */
  async replace(member: Member): Promise<void> {
    await this.add();
    this.members.delete(member);
    this.tell();
    this.#bury(member);
  }

  /** A pod leaves: told 100 ms later, and ended after its preStop. */
  async retire(member: Member, preStop: number): Promise<void> {
    await this.add();
    this.tell();
    const told = pause(100).then(() => {
      this.members.delete(member);
      this.tell();
    });
    await pause(preStop);
    member.pod.signal('SIGTERM');
    await told;
    this.#bury(member);
  }

  #bury({ pod, proxy }: Member): void {
    this.#gone.push(pod[Symbol.asyncDispose]().then(() => proxy[Symbol.asyncDispose]()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const member of this.members) this.#bury(member);
    this.members.clear();
    await Promise.all(this.#gone);
  }
}

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
  if (verdict.slowest > total + slack) violations.push(`a call took ${Math.round(verdict.slowest)} ms`);
  const faults = Object.values(injected).reduce((sum, count) => sum + count, 0);
  return { seed, faults, injected, violations, ...verdict };
}

/** TCP connections of this process, those that are being made included. */
function sockets(): number {
  return process.getActiveResourcesInfo().filter((kind) => /^TCP/.test(kind)).length;
}

async function call(client: Client, history: History, method: 'GET' | 'POST', until: number): Promise<void> {
  while (performance.now() < until) {
    await history.call(client, method);
    await pause(5);
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
