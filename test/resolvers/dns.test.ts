import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ResolveError } from '../../src/core/errors.ts';
import { type DnsOptions, dns } from '../../src/resolvers/dns.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { DnsServer } from './support/dns-server.ts';
import { RoundClock, type Watching, watching } from './support/watching.ts';

const name = 'orders.shop.svc.cluster.local';
const search = ['app.svc.cluster.local', 'svc.cluster.local', 'cluster.local'];

let server: DnsServer;
let clock: RoundClock;
const open: Watching[] = [];

beforeEach(async () => {
  server = await DnsServer.start();
  clock = new RoundClock();
});

afterEach(async () => {
  await Promise.all(open.splice(0).map(({ watch }) => watch.close()));
  await server.close();
  expect(clock.pending).toBe(0);
});

function resolver(options: DnsOptions = {}): ReturnType<typeof dns> {
  return dns({ servers: [server.address], search, ndots: 5, clock, random: seeded(1), ...options });
}

function watch(options: DnsOptions = {}, host = 'orders.shop'): Watching {
  const one = watching(resolver(options), { host });
  open.push(one);
  return one;
}

describe('what is asked', () => {
  it('takes every address as an endpoint at the port of the target', async () => {
    server.addresses(name, ['10.0.0.2', '10.0.0.1', 'fd00::1']);
    const { set, infos } = watch();
    expect(await set(1)).toEqual(['10.0.0.1:8080', '10.0.0.2:8080', '[fd00::1]:8080']);
    expect(infos[0]?.source).toBe('dns');
    expect(infos[0]?.ttl).toBeGreaterThanOrEqual(30_000);
  });

  it('asks one A and one AAAA question per round, once a name is known', async () => {
    server.addresses(name, ['10.0.0.1']);
    await watch().set(1);
    server.asked.length = 0;
    await clock.round();
    expect(server.asked.map((one) => `${one.type} ${one.name}`).sort()).toEqual([
      `A ${name}`,
      `AAAA ${name}`,
    ]);
  });

  it('asks for one family only where the other is not wanted', async () => {
    server.addresses(name, ['10.0.0.1', 'fd00::1']);
    expect(await watch({ family: 6 }).set(1)).toEqual(['[fd00::1]:8080']);
    expect(server.count('A')).toBe(0);
  });

  it('asks once for a thousand watches of the same name', async () => {
    server.addresses(name, ['10.0.0.1']);
    const shared = resolver();
    const all = Array.from({ length: 1_000 }, (_, i) =>
      watching(shared, { host: 'orders.shop', port: 1 + (i % 7) }),
    );
    open.push(...all);
    for (const [i, one] of all.entries()) expect(await one.set(1)).toEqual([`10.0.0.1:${1 + (i % 7)}`]);
    expect(server.asked.filter((one) => one.name === name)).toHaveLength(2);
  });
});

describe('errors', () => {
  it('tells the names that were asked and each answer', async () => {
    const error = await watch().error(1);
    expect(error).toBeInstanceOf(ResolveError);
    expect(error.message).toBe(
      `orders.shop does not exist: asked of ${server.address} for orders.shop.app.svc.cluster.local. (A: ENOTFOUND, AAAA: ENOTFOUND), ` +
        'orders.shop.svc.cluster.local. (A: ENOTFOUND, AAAA: ENOTFOUND), orders.shop.cluster.local. (A: ENOTFOUND, AAAA: ENOTFOUND), orders.shop. (A: ENOTFOUND, AAAA: ENOTFOUND)',
    );
    expect((error.cause as NodeJS.ErrnoException).code).toBe('ENOTFOUND');
  });
});
