import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { NetworkReport } from '../support/bad-network.ts';
import { inNamespace, namespaceProblem } from '../support/namespace.ts';

const program = (name: string): string => fileURLToPath(new URL(`../support/${name}`, import.meta.url));

/** Of a pod that is gone from the network, or a network that loses packets: the kernel of this machine plays it. */
const filters = await namespaceProblem({ filters: true });

async function play(name: string): Promise<NetworkReport> {
  const report = await inNamespace<NetworkReport>(program('bad-network.ts'), [name], { timeout: 90_000 });
  const { calls, failed, ambiguous, retries, slowest, seconds } = report;
  console.log(
    `${name}: ${calls} calls, ${failed.GET} GETs and ${failed.POST} POSTs failed (${ambiguous} ambiguous), ` +
      `${retries} retries, slowest ${Math.round(slowest)} ms, ${seconds.toFixed(1)} s of trouble`,
  );
  expect(report).toMatchObject({ twice: [], missing: [], wronglyUnsent: [], sockets: 0 });
  return report;
}

describe('one of five pods', { timeout: 100_000 }, () => {
  it.for([
    ['tcp-reset', 'ECONNREFUSED'],
    ['icmp-port-unreachable', 'ECONNREFUSED'],
    ['icmp-host-unreachable', 'EHOSTUNREACH'],
    ['icmp-net-unreachable', 'ENETUNREACH'],
    ['icmp-admin-prohibited', 'EHOSTUNREACH'],
  ] as const)('that a firewall rejects with %s costs no call, GET or POST', async ([how, code], { skip }) => {
    if (filters !== undefined) skip(filters);
    const { failed, states, codes, slowest } = await play(how);
    expect(failed).toEqual({ GET: 0, POST: 0 });
    expect(codes).toEqual([code]);
    expect(states).toEqual(['ejected', 'active']);
    // Nobody waits for the connect timeout.
    expect(slowest).toBeLessThan(1_000);
  });

  it('whose SYNs are swallowed costs no call, and none more than connect timeouts', async ({ skip }) => {
    if (filters !== undefined) skip(filters);
    const { failed, states, codes, slowest, refreshes } = await play('no handshake');
    expect(failed).toEqual({ GET: 0, POST: 0 });
    expect(codes).toEqual(['UND_ERR_CONNECT_TIMEOUT']);
    expect(states).toEqual(['ejected', 'active']);
    expect(slowest).toBeLessThan(2_000);
    // The resolver hears of it.
    expect(refreshes).toBeGreaterThan(0);
  });

  it('that falls silent on connections that exist fails no GET, and POSTs ambiguously', async ({ skip }) => {
    if (filters !== undefined) skip(filters);
    const { failed, ambiguous, told, states, slowest } = await play('silence');
    expect(failed.GET).toBe(0);
    expect(failed.POST).toBe(ambiguous);
    expect(failed.POST).toBeLessThan(40);
    expect(Object.keys(told).filter((what) => !/^(ok|UND_ERR_HEADERS_TIMEOUT)$/.test(what))).toEqual([]);
    expect(states).toEqual(['ejected', 'active']);
    expect(slowest).toBeLessThan(2_500);
  });
});

describe('a network', { timeout: 100_000 }, () => {
  it('that loses 5 % of the packets fails no GET', async ({ skip }) => {
    if (filters !== undefined) skip(filters);
    const { failed, ambiguous, slowest } = await play('loss of 5 %');
    expect(failed.GET).toBe(0);
    expect(failed.POST).toBe(ambiguous);
    expect(slowest).toBeLessThan(2_500);
  });

  it('that loses 30 % brings deadlines and ambiguous errors only, and retries within the budget', async ({
    skip,
  }) => {
    if (filters !== undefined) skip(filters);
    const { told, failed, ambiguous, calls, retries, seconds, slowest } = await play('loss of 30 %');
    const strange = Object.keys(told).filter(
      (what) => !/^(ok|UND_ERR_HEADERS_TIMEOUT|STEERSMAN_ERR_DEADLINE)$/.test(what),
    );
    expect(strange).toEqual([]);
    expect(failed.POST).toBeLessThanOrEqual(ambiguous + (told.STEERSMAN_ERR_DEADLINE ?? 0));
    expect(retries).toBeLessThanOrEqual(0.2 * calls + 10 * (10 + seconds));
    expect(slowest).toBeLessThan(2_500);
  });

  it('in which two of three pods have no route: no call fails, GET or POST', async ({ skip }) => {
    const problem = await namespaceProblem();
    if (problem !== undefined) skip(problem);
    const { slowest, ...report } = await inNamespace<{ slowest: number }>(
      program('unreachable.ts'),
      ['10.9.9.1', '10.9.9.2'],
      { setup: ['ip route add unreachable 10.9.9.1/32'] },
    );
    expect(report).toEqual({ codes: ['EHOSTUNREACH', 'ENETUNREACH'], failed: 0, executed: 200 });
    expect(slowest).toBeLessThan(1_000);
  });
});
