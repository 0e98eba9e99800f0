import type { Arena, Member } from './arena.ts';
import { jumps, jumpTo } from './fake-time.ts';
import type { Fault } from './fault-proxy.ts';
import { pause } from './fleet.ts';
import { namespaced } from './namespace.ts';
import { afflict, type PacketFault } from './packets.ts';

/** Something that goes wrong with one pod, and is mended again. */
export type Trouble = (member: Member, arena: Arena, ms: number) => Promise<void>;

function network(fault: Fault): Trouble {
  return async ({ proxy }, _, ms) => {
    await proxy.inject(fault);
    await pause(ms);
    await proxy.inject({ kind: 'none' });
  };
}

/** By the kernel: only in a network namespace of our own. */
function kernel(fault: PacketFault): Trouble {
  return async ({ proxy }, _, ms) => {
    const mend = await afflict(fault, proxy.endpoint.port);
    await pause(ms);
    await mend();
  };
}

const everywhere: Readonly<Record<string, Trouble>> = {
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
  'address re-used': async (member, arena) => {
    await arena.reuse(member);
  },
  'no news': async (_, arena, ms) => {
    arena.resolver.fail('no news');
    await pause(ms);
    arena.tell();
  },
  'own loop blocked': async (_, __, ms) => {
    for (const until = performance.now() + ms / 2; performance.now() < until; );
  },
};

const packets: Readonly<Record<string, Trouble>> = {
  'packets lost': kernel({ kind: 'loss', share: 0.3 }),
  'packets swallowed': kernel({ kind: 'silence' }),
  'SYNs swallowed': kernel({ kind: 'no handshake' }),
  'connections rejected': kernel({ kind: 'rejected', with: 'icmp-host-unreachable' }),
};

const clocks: Readonly<Record<string, Trouble>> = {
  'clock jumps': async (_, __, ms) => {
    jumpTo(Math.round((ms - 900) * 1e6));
    await pause(ms);
    jumpTo(0);
  },
};

/** By name: all that this process may do. */
export const troubles: Readonly<Record<string, Trouble>> = {
  ...everywhere,
  ...(namespaced ? packets : {}),
  ...(jumps ? clocks : {}),
};
