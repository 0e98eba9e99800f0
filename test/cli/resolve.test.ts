import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeCluster } from '../../src/testing/fake-cluster.ts';
import { DnsServer } from '../resolvers/support/dns-server.ts';
import { until } from '../resolvers/support/watching.ts';

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

let server: DnsServer;

beforeEach(async () => {
  server = await DnsServer.start();
  server.addresses('orders.shop', ['10.0.0.1', '10.0.0.2'], 1);
});

afterEach(() => server.close());

interface Run {
  readonly child: ChildProcess;
  out: string;
  err: string;
  readonly ended: Promise<number | null>;
}

const start = (...args: string[]): Run => startBare(...args, '--server', server.address);

function startBare(...args: string[]): Run {
  const child = spawn(process.execPath, [main, 'resolve', ...args]);
  const run: Run = {
    child,
    out: '',
    err: '',
    ended: once(child, 'close').then(([code]) => code as number | null),
  };
  child.stdout.on('data', (text) => (run.out += text));
  child.stderr.on('data', (text) => (run.err += text));
  return run;
}

describe('steersman resolve', () => {
  it('prints the set, its source and its TTL', async () => {
    const run = start('orders.shop', '--port', '8080', '--resolver', 'dns');
    expect(await run.ended).toBe(0);
    expect(run.out).toMatch(
      /^orders\.shop:8080: 2 endpoints \(dns, ttl 1\.\d s, .*Z\)\n {2}10\.0\.0\.1:8080\n {2}10\.0\.0\.2:8080\n$/,
    );
  });

  it('prints JSON where asked to', async () => {
    const run = start('http://orders.shop:8080', '--resolver', 'dns', '--json');
    expect(await run.ended).toBe(0);
    const set = JSON.parse(run.out);
    expect(set).toMatchObject({ target: 'orders.shop:8080', source: 'dns' });
    expect(set.endpoints).toContainEqual({ id: '10.0.0.2:8080', address: '10.0.0.2', port: 8080 });
    expect(set.ttl).toBeGreaterThanOrEqual(1_000);
  });

  it('shows the weights and ports of SRV records', async () => {
    server.srv('_http._tcp.orders.shop', [
      { target: 'a.shop', port: 81, weight: 10 },
      { target: 'b.shop', port: 82, weight: 30 },
    ]);
    server.addresses('a.shop', ['10.0.0.3']);
    server.addresses('b.shop', ['10.0.0.4']);
    const run = start('orders.shop', '--resolver', 'srv');
    expect(await run.ended).toBe(0);
    expect(run.out).toContain('  10.0.0.3:81  weight 10\n  10.0.0.4:82  weight 30\n');
  });

  it('watches: prints changes as they come, errors meanwhile, until it is interrupted', async () => {
    const run = start('orders.shop', '--resolver', 'dns', '--watch');
    await until(() => run.out.includes('10.0.0.2:80'));
    server.addresses('orders.shop', ['10.0.0.2', '10.0.0.9'], 1);
    await until(() => run.out.includes('+ 10.0.0.9:80\n- 10.0.0.1:80\n'));
    server.fail('orders.shop', 'SERVFAIL');
    await until(() => run.err.includes('! orders.shop cannot be resolved now'));
    run.child.kill('SIGINT');
    expect(await run.ended).toBe(0);
  });

  it.each(['kubernetes', 'auto'])(
    'watches a cluster with the resolver %s, and tells its resourceVersion',
    async (which) => {
      await using cluster = await FakeCluster.start({ namespace: 'shop' });
      const orders = await cluster.service('orders', { replicas: 2 });
      const at = ['--resolver', which, '--kubeconfig', cluster.kubeconfig];
      const run = startBare('orders.shop', '--watch', '--json', ...at);
      await until(() => run.out.includes('\n'));
      await orders.scale(1);
      const sets = (): { endpoints: unknown[] }[] =>
        run.out
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line));
      await until(() => sets().at(-1)?.endpoints.length === 1);
      run.child.kill('SIGTERM');
      expect(await run.ended).toBe(0);
      const [first] = sets();
      expect(first).toMatchObject({
        target: 'orders.shop',
        source: 'kubernetes',
        resourceVersion: expect.any(String),
      });
      expect(first?.endpoints).toHaveLength(2);
    },
  );

  it('ends at once, with the names it asked for, where the name does not exist', async () => {
    const run = start('nowhere.shop', '--resolver', 'dns');
    expect(await run.ended).toBe(1);
    expect(run.err).toMatch(
      /^! nowhere\.shop does not exist: .*nowhere\.shop\. \(A: ENOTFOUND, AAAA: ENOTFOUND\)/,
    );
    expect(run.out).toBe('');
  });

  it('ends after the timeout with the last error', async () => {
    server.fail('orders.shop', 'SERVFAIL');
    const run = start('orders.shop', '--resolver', 'dns', '--timeout', '300');
    expect(await run.ended).toBe(1);
    expect(run.err).toMatch(/was not resolved within 300 ms: .*ESERVFAIL/);
  });

  it('tells an empty set by its exit code', async () => {
    server.fail('orders.shop', 'none');
    const run = start('orders.shop', '--resolver', 'dns', '--json');
    expect(await run.ended).toBe(3);
    expect(JSON.parse(run.out).endpoints).toEqual([]);
  });

  it.each([
    [[], /one name is needed, got 0/],
    [['a', 'b'], /one name is needed, got 2/],
    [['a b'], /has a label that is not letters/],
    [['http://u:p@orders.shop'], /user name or password/],
    [['orders.shop', '--port', '70000'], /between 1 and 65535, got 70000/],
    [['orders.shop', '--resolver', 'x'], /--resolver must be auto, kubernetes, dns or srv, got x/],
    [['orders.shop', '--family', '5'], /--family must be 4 or 6, got 5/],
    [['orders.shop', '--timeout', 'x'], /--timeout must be a number of ms, got x/],
    [['orders.shop', '--bogus'], /--bogus/],
    [['orders.shop', '--resolver', 'dns', '--server', '1.2.3.4:0'], /servers\[0\] has port 0/],
  ])('refuses %j with exit code 2', async (args, message) => {
    const run = start(...args);
    expect(await run.ended).toBe(2);
    expect(run.err).toMatch(message);
  });
});
