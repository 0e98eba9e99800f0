import { roundRobin } from '../../src/balancers/round-robin.ts';
import { createClient } from '../../src/client/client.ts';
import type { ServiceOptions } from '../../src/client/options.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { clientOf, Fleet, load, pause } from './fleet.ts';
import type { Verdict } from './history.ts';
import { afflict, type PacketFault } from './packets.ts';

/** What a program in a network of its own tells of one case. */
export interface NetworkReport extends Verdict {
  /** Attempts that the budget paid for. */
  readonly retries: number;
  /** s */
  readonly seconds: number;
  /** Hints to the resolver that connections could not be made. */
  readonly refreshes: number;
  /** The circuit of the first pod, after trouble and when it was over. */
  readonly states: readonly unknown[];
  /** Error codes of calls to the first pod alone, while it was in trouble. */
  readonly codes: readonly string[];
  /** TCP connections of the client's process that are left when everything is closed. */
  readonly sockets: number;
}

/** Run in a network namespace of its own: `bad-network.ts CASE`. */
interface Case {
  readonly fault: PacketFault;
  /** Whether only the first of five pods is concerned. */
  readonly one: boolean;
  /** Calls before the fault, so that there are connections. */
  readonly warmUp: number;
  readonly calls: number;
  readonly options: ServiceOptions;
}

const patient: ServiceOptions = { timeout: { total: 10_000 }, balancer: roundRobin() };
const rejected = (how: string): Case => ({
  fault: { kind: 'rejected', with: how },
  one: true,
  warmUp: 0,
  calls: 1_000,
  options: patient,
});

const cases: Readonly<Record<string, Case>> = {
  'tcp-reset': rejected('tcp-reset'),
  'icmp-port-unreachable': rejected('icmp-port-unreachable'),
  'icmp-host-unreachable': rejected('icmp-host-unreachable'),
  'icmp-net-unreachable': rejected('icmp-net-unreachable'),
  'icmp-admin-prohibited': rejected('icmp-admin-prohibited'),
  'no handshake': {
    fault: { kind: 'no handshake' },
    one: true,
    warmUp: 0,
    calls: 1_000,
    options: { ...patient, timeout: { total: 5_000, connect: 1_000 } },
  },
  silence: {
    fault: { kind: 'silence' },
    one: true,
    warmUp: 400,
    calls: 1_000,
    // In turn: the default would hardly ask it again.
    options: { balancer: roundRobin() },
  },
  'loss of 5 %': { fault: { kind: 'loss', share: 0.05 }, one: false, warmUp: 100, calls: 2_000, options: {} },
  'loss of 30 %': { fault: { kind: 'loss', share: 0.3 }, one: false, warmUp: 100, calls: 400, options: {} },
};

const name = process.argv[2] ?? '';
const { fault, one, warmUp, calls, options } = cases[name] as Case;
const sockets = (): number => process.getActiveResourcesInfo().filter((kind) => /^TCP/.test(kind)).length;

async function play(): Promise<NetworkReport> {
  await using fleet = await Fleet.start(5);
  const [first] = fleet.endpoints as [Endpoint];
  const resolver = new FakeResolver(fleet.endpoints);
  const client = clientOf(fleet.endpoints, {
    circuit: { endpoint: { ejection: 1_000 } },
    ...options,
    resolver,
  });
  const state = (): unknown => client.snapshot().endpoints.find((e) => e.endpoint.id === first.id)?.state;
  await load(client, fleet.history, warmUp);
  const mend = await afflict(fault, one ? first.port : undefined);
  const started = performance.now();
  await load(client, fleet.history, calls);
  const seconds = (performance.now() - started) / 1_000;
  const states = [state()];
  const codes = one ? await alone(first) : [];
  await mend();
  for (let i = 0; i < 100 && state() !== 'active'; i++) await load(client, fleet.history, 40, 25);
  states.push(state());
  const { retries } = client.snapshot();
  await client.close();
  const { refreshes } = resolver;
  // libuv closes handles a turn later.
  await pause(20);
  return { ...fleet.history.check(), retries, seconds, refreshes, states, codes, sockets: sockets() };
}

/** What a call says that may go nowhere else. */
async function alone(pod: Endpoint): Promise<string[]> {
  const client = createClient('http://orders.shop', {
    resolver: new FakeResolver([pod]),
    retry: false,
    timeout: { connect: 500 },
  });
  const codes = await client.request('/').then(
    () => ['ok'],
    (error: { code?: string }) => [error.code ?? ''],
  );
  await client.close();
  return codes;
}

process.stdout.write(JSON.stringify(await play()));
