import { describe, expect, it } from 'vitest';
import { searchNames } from '../../../src/resolvers/dns/search.ts';

const pod = { search: ['app.svc.cluster.local', 'svc.cluster.local', 'cluster.local'], ndots: 5 };

describe('searchNames', () => {
  it.each([
    [
      'orders',
      pod,
      ['orders.app.svc.cluster.local.', 'orders.svc.cluster.local.', 'orders.cluster.local.', 'orders.'],
    ],
    [
      'a.b.c.d.e.f',
      pod,
      [
        'a.b.c.d.e.f.',
        'a.b.c.d.e.f.app.svc.cluster.local.',
        'a.b.c.d.e.f.svc.cluster.local.',
        'a.b.c.d.e.f.cluster.local.',
      ],
    ],
    ['orders.', pod, ['orders.']],
    ['orders.shop', { search: ['x'], ndots: 1 }, ['orders.shop.', 'orders.shop.x.']],
    ['orders', { search: ['x'], ndots: 1 }, ['orders.x.', 'orders.']],
    ['orders', { search: ['x'], ndots: 0 }, ['orders.', 'orders.x.']],
    ['orders', { search: [], ndots: 5 }, ['orders.']],
    ['orders', { search: ['x', 'x'], ndots: 5 }, ['orders.x.', 'orders.']],
  ])('%s', (host, rules, names) => {
    expect(searchNames(host, rules)).toEqual(names);
  });

  it('takes a name inside a search domain for complete first', () => {
    expect(searchNames('orders.shop.svc.cluster.local', pod)[0]).toBe('orders.shop.svc.cluster.local.');
    // One label is no domain: `db.lan` may well be `db.lan.corp.example`.
    expect(searchNames('db.lan', { search: ['lan', 'corp.example'], ndots: 5 })[0]).toBe('db.lan.lan.');
  });

  it('leaves out what would be too long for a name', () => {
    const host = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(50)}`;
    expect(searchNames(host, pod)).toEqual([`${host}.`]);
  });
});
