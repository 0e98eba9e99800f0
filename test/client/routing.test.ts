import { describe, expect, it } from 'vitest';
import { KnownHosts, routeOf } from '../../src/client/routing.ts';

const inside = { inCluster: true, clusterDomain: 'cluster.local' };
const outside = { inCluster: false, clusterDomain: 'cluster.local' };

describe('routeOf', () => {
  it.each([
    ['orders', 'ours', 'ours'],
    ['orders.shop', 'ask', 'others'],
    ['example.com', 'ask', 'others'],
    ['orders.', 'others', 'others'],
    ['orders.shop.', 'others', 'others'],
    ['orders.shop.svc.', 'others', 'others'],
    ['orders.shop.svc', 'ours', 'others'],
    ['orders.shop.svc.cluster.local', 'ours', 'others'],
    ['orders.shop.svc.cluster.local.', 'ours', 'others'],
    ['orders.shop.svc.other.domain', 'others', 'others'],
    ['www.example.com', 'others', 'others'],
    ['pod-0.orders.shop.svc.cluster.local', 'others', 'others'],
    ['localhost', 'others', 'others'],
    ['10.0.0.1', 'others', 'others'],
    ['[::1]', 'others', 'others'],
    ['127.1', 'others', 'others'],
    ['2130706433', 'others', 'others'],
  ])('%s: in a cluster %s, elsewhere %s', (host, within, without) => {
    expect(routeOf(host, inside)).toBe(within);
    expect(routeOf(host, outside)).toBe(without);
  });
});

describe('KnownHosts', () => {
  function make(answers: (boolean | undefined | Error)[]) {
    const asked: string[] = [];
    const time = { now: 0 };
    const hosts = new KnownHosts(
      async (name) => {
        asked.push(name);
        const answer = answers.shift();
        if (answer instanceof Error) throw answer;
        return answer;
      },
      () => time.now,
    );
    return { hosts, asked, time };
  }

  it('asks once for any number of callers, and remembers what is a service', async () => {
    const { hosts, asked, time } = make([true]);
    const all = await Promise.all(
      Array.from({ length: 10 }, () => hosts.ask('orders.shop', 'orders.shop.svc.')),
    );
    expect(all).toEqual(Array(10).fill(true));
    expect(asked).toEqual(['orders.shop.svc.']);
    time.now = 1e9;
    expect(hosts.known('orders.shop')).toBe(true);
  });

  it('remembers for 30 s what is none', async () => {
    const { hosts, time } = make([false]);
    expect(await hosts.ask('example.com', 'example.com.svc.')).toBe(false);
    time.now = 29_999;
    expect(hosts.known('example.com')).toBe(false);
    time.now = 30_000;
    expect(hosts.known('example.com')).toBeUndefined();
  });

  it('lets pass, and asks again, what DNS cannot say', async () => {
    const { hosts, asked } = make([undefined, new Error('no DNS'), true]);
    expect(await hosts.ask('orders.shop', 'x.')).toBe(false);
    expect(await hosts.ask('orders.shop', 'x.')).toBe(false);
    expect(hosts.known('orders.shop')).toBeUndefined();
    expect(await hosts.ask('orders.shop', 'x.')).toBe(true);
    expect(asked).toHaveLength(3);
  });

  it('does not remember any number of hosts', async () => {
    const { hosts } = make([]);
    const many = make(Array(3_000).fill(false)).hosts;
    for (let i = 0; i < 3_000; i++) await many.ask(`h${i}.example`, 'x.');
    const remembered = Array.from({ length: 3_000 }, (_, i) => many.known(`h${i}.example`)).filter(
      (known) => known === false,
    );
    expect(remembered.length).toBeLessThanOrEqual(1_000);
    expect(hosts.known('constructor')).toBeUndefined();
  });
});
