import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { clientOf, Fleet, load, pause } from '../support/fleet.ts';
import { blackHole, type PodProcess } from '../support/pod-process.ts';
import { ok, onRequest, RawServer, refusingEndpoint } from '../support/tcp.ts';

describe('one of five pods', () => {
  it('that refuses connections costs no call, and no call a noticeable time', async () => {
    await using fleet = await Fleet.start(4);
    const endpoints = [...fleet.endpoints, await refusingEndpoint()];
    await using client = clientOf(endpoints, { balancer: roundRobin(), timeout: { total: 10_000 } });
    await load(client, fleet.history, 1_000);
    const { failed, slowest } = fleet.history.check();
    expect(failed).toEqual({ GET: 0, POST: 0 });
    expect(slowest).toBeLessThan(2_000);
    expect(client.snapshot().endpoints.filter(({ state }) => state === 'ejected')).toHaveLength(1);
  });

  it('that answers no SYN costs no call, each at most the connect timeout', { timeout: 20_000 }, async () => {
    await using fleet = await Fleet.start(4);
    await using hole = await blackHole();
    await using client = clientOf([...fleet.endpoints, hole.endpoint], {
      timeout: { total: 5_000, connect: 300, attempt: 1_000 },
      balancer: roundRobin(),
    });
    await load(client, fleet.history, 1_000);
    const { failed, slowest } = fleet.history.check();
    expect(failed).toEqual({ GET: 0, POST: 0 });
    expect(slowest).toBeLessThan(1_500);
    expect(client.snapshot().endpoints.filter(({ state }) => state === 'ejected')).toHaveLength(1);
  });

  it('that is stopped fails no GET, is left alone, and comes back', { timeout: 30_000 }, async () => {
    await using fleet = await Fleet.start(5);
    const [stopped] = fleet.pods as [PodProcess];
    await using client = clientOf(fleet.endpoints, {
      timeout: { total: 2_000, attempt: 200 },
      circuit: { endpoint: { ejection: 500 } },
      balancer: roundRobin(),
    });
    await load(client, fleet.history, 400);
    stopped.signal('SIGSTOP');
    await load(client, fleet.history, 2_000);
    const state = (): unknown =>
      client.snapshot().endpoints.find(({ endpoint }) => endpoint.id === stopped.endpoint.id)?.state;
    expect(state()).toBe('ejected');
    stopped.signal('SIGCONT');
    for (let i = 0; i < 100 && state() !== 'active'; i++) await load(client, fleet.history, 40, 20);
    expect(state()).toBe('active');
    const { failed, ambiguous, twice, missing } = fleet.history.check();
    expect(failed.GET).toBe(0);
    expect(failed.POST).toBe(ambiguous);
    // Those in flight when it stopped, and one trial at a time.
    expect(failed.POST).toBeLessThan(40);
    expect([...twice, ...missing]).toEqual([]);
  });

  it('whose connections die silently fails no GET, and POSTs ambiguously', { timeout: 20_000 }, async () => {
    await using fleet = await Fleet.start(5);
    const [first, ...others] = fleet.endpoints as [Endpoint, ...Endpoint[]];
    await using proxy = await FaultProxy.start(first);
    await using client = clientOf([proxy.endpoint, ...others], { timeout: { total: 2_000, attempt: 200 } });
    await load(client, fleet.history, 400);
    await proxy.inject({ kind: 'half-open' });
    await load(client, fleet.history, 1_000);
    const { failed, ambiguous, twice } = fleet.history.check();
    expect(failed.GET).toBe(0);
    expect(failed.POST).toBe(ambiguous);
    expect(failed.POST).toBeLessThan(40);
    expect(twice).toEqual([]);
  });

  it('whose connections are dead and do not say so is back on new ones, after one ejection', async () => {
    // A firewall that has lost its memory: what was connected before is never answered again.
    let memory = 0;
    // With a hint, connections are kept for longer than the ejection lasts.
    const kept = ok.replace('\r\n\r\n', '\r\nkeep-alive: timeout=60\r\n\r\n');
    await using forgetful = await RawServer.start((socket, self) => {
      const mine = memory;
      onRequest(socket, self, () => setTimeout(() => mine === memory && socket.write(kept), 20));
    });
    await using fleet = await Fleet.start(1);
    await using client = clientOf([forgetful.endpoint, ...fleet.endpoints], {
      balancer: roundRobin(),
      timeout: { total: 2_000, attempt: 150 },
      circuit: { endpoint: { ejection: 500 } },
    });
    const calls = (n: number): Promise<unknown> =>
      Promise.all(Array.from({ length: n }, () => fleet.history.call(client, 'GET')));
    let ejections = 0;
    client.on('ejected', () => ejections++);
    await calls(40);
    expect(forgetful.open).toBe(20);
    const first = () => client.snapshot().endpoints[0];
    // Half of them are used, and found dead. Timeouts that a stall of our own made late would not count.
    for (let i = 0; i < 10 && first()?.state !== 'ejected'; i++) {
      memory++;
      await calls(20);
    }
    expect(first()?.state).toBe('ejected');
    await expect.poll(() => forgetful.open).toBe(0);
    while (first()?.state !== 'active') await calls(2);
    const failures = first()?.failures;
    await calls(40);
    expect(first()).toMatchObject({ state: 'active', failures });
    expect(ejections).toBe(1);
    expect(fleet.history.check().failed.GET).toBe(0);
  });

  it('that always answers 503 is ejected, and hardly noticed', async () => {
    await using fleet = await Fleet.start(5);
    fleet.pods[0]?.behave({ status: 503 });
    await using client = clientOf(fleet.endpoints);
    await load(client, fleet.history, 2_000);
    const { failed, told } = fleet.history.check();
    expect(failed.GET).toBe(0);
    // Five in a row eject it, and a few more were under way.
    expect(told['503'] ?? 0).toBeLessThan(30);
  });
});

describe('the whole service', () => {
  it('of which four of five answer 503 has at most half of them ejected, and is found well again at once', async () => {
    await using fleet = await Fleet.start(5);
    for (const pod of fleet.pods.slice(1)) pod.behave({ status: 503 });
    await using client = clientOf(fleet.endpoints);
    let most = 0;
    client.on('ejected', () => {
      const ejected = client.snapshot().endpoints.filter(({ state }) => state === 'ejected').length;
      most = Math.max(most, ejected);
    });
    await load(client, fleet.history, 3_000);
    expect(most).toBe(2);
    // Of the three that may be asked one is well, and the default does better than a blind choice among them.
    const { told, twice } = fleet.history.check();
    expect(Object.keys(told).sort()).toEqual(['503', 'ok']);
    expect(told.ok).toBeGreaterThan(1_000);
    expect(twice).toEqual([]);
    for (const pod of fleet.pods) pod.behave({ work: 2 });
    await load(client, fleet.history, 200);
    const last = fleet.history.entries.slice(-100);
    expect(last.filter((entry) => entry.told !== 'ok')).toEqual([]);
  });

  it('that answers 503 gets at most a fifth more calls, and is found well again at once', {
    timeout: 30_000,
  }, async () => {
    let ill = true;
    const server = (): Promise<RawServer> =>
      RawServer.start((socket, self) => {
        onRequest(socket, self, () => socket.write(ill ? ok.replace('200 OK', '503 Busy') : ok));
      });
    await using a = await server();
    await using b = await server();
    await using c = await server();
    await using client = clientOf([a.endpoint, b.endpoint, c.endpoint]);
    const call = async (): Promise<number> => {
      const { statusCode, body } = await client.request('/');
      await body.dump();
      return statusCode;
    };
    const started = performance.now();
    const lane = async (): Promise<void> => {
      for (let i = 0; i < 100; i++) expect(await call()).toBe(503);
    };
    await Promise.all(Array.from({ length: 20 }, lane));
    const seconds = (performance.now() - started) / 1_000;
    const made = a.requests + b.requests + c.requests;
    // The budget: a fifth, and ten a second over its window of ten.
    expect(made).toBeLessThanOrEqual(2_000 * 1.2 + 10 * (10 + seconds));
    expect(made).toBeGreaterThan(2_200);
    // However ill they all looked, somebody was asked, and so the recovery is seen.
    ill = false;
    const answers = await Promise.all(Array.from({ length: 50 }, call));
    expect(answers.filter((status) => status === 200).length).toBeGreaterThan(40);
  });

  it('closed connections in the gap between two POSTs of a caller: none fails', {
    timeout: 120_000,
  }, async ({ skip }) => {
    const calls = 4_000;
    const lanes = 80;
    const idle = 100;
    const round = async (): Promise<{ failed: number; late: number }> => {
      await using fleet = await Fleet.start(2, { kind: 'raw', idle });
      await using client = clientOf(fleet.endpoints);
      let failed = 0;
      let late = 0;
      const lane = async (): Promise<void> => {
        for (let i = 0; i < calls / lanes; i++) {
          const { told } = await fleet.history.call(client, 'POST');
          if (told !== 'ok') failed++;
          // What the server waits too, give or take.
          const gap = idle - 3 + 6 * Math.random();
          const begun = performance.now();
          await pause(gap);
          late = Math.max(late, performance.now() - begun - gap);
        }
      };
      await Promise.all(Array.from({ length: lanes }, lane));
      expect(fleet.history.check()).toMatchObject({ twice: [], missing: [] });
      return { failed, late };
    };
    let late = 0;
    for (let i = 0; i < 3; i++) {
      const result = await round();
      late = result.late;
      console.log(
        `keep-alive races: ${result.failed} of ${calls} POSTs failed; timers were up to ${late.toFixed()} ms late`,
      );
      if (result.failed === 0) return;
      // A machine on which a process stands still for as long as a server waits has its servers close connections
      // whose requests lie unread, and has no gap of 97 to 103 ms.
      expect(late).toBeGreaterThan(idle);
    }
    skip(`processes of this machine stand still for ${late.toFixed()} ms: gaps of ${idle} ms cannot be had`);
  });
});

const run = promisify(execFile);

describe('a process', () => {
  const program = fileURLToPath(new URL('../support/short-life.ts', import.meta.url));

  it.each([
    'closes',
    'forgets to close',
    'closes while a call hangs',
    'closes while nobody reads a body',
    'has a dead resolver',
  ])('that %s ends by itself', { timeout: 20_000 }, async (how) => {
    const { stdout, stderr } = await run(process.execPath, ['--no-warnings', program, how], {
      timeout: 10_000,
    });
    const { idleSince, told } = JSON.parse(stdout) as { idleSince: number; told: string };
    expect(Date.now() - idleSince).toBeLessThan(3_000);
    expect(stderr).toBe('');
    expect(told).toBe({ 'has a dead resolver': 'STEERSMAN_ERR_RESOLVE' }[how] ?? 'ok');
  });

  it('with no file descriptors left fails calls as unsent, blames no pod, and recovers', {
    timeout: 30_000,
  }, async ({ skip }) => {
    const shell = await run('sh', ['-c', 'ulimit -n 64']).catch(() => undefined);
    if (shell === undefined) skip('no shell that knows ulimit');
    const pod = (): Promise<RawServer> =>
      RawServer.start((socket, self) =>
        onRequest(socket, self, () => setTimeout(() => socket.write(ok), 100)),
      );
    await using a = await pod();
    await using b = await pod();
    await using c = await pod();
    const ports = [a, b, c].map(({ port }) => String(port));
    const script = 'ulimit -n 64 && exec "$0" --no-warnings "$@"';
    const { stdout, stderr } = await run(
      'sh',
      ['-c', script, process.execPath, program, 'starves', ...ports],
      { timeout: 20_000 },
    );
    const { codes, classes, ...report } = JSON.parse(stdout) as Record<string, Record<string, number>>;
    expect(Object.keys(codes ?? {}).sort()).toEqual(['EMFILE', 'ok']);
    expect(Object.keys(classes ?? {})).toEqual(['unsent']);
    expect(report).toEqual({ ejected: 0, after: Array(10).fill('ok') });
    expect(a.requests + b.requests + c.requests).toBe((codes?.ok ?? 0) + 11);
    expect(stderr).toBe('');
  });
});
