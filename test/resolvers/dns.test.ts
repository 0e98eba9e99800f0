import { execFileSync, spawn } from 'node:child_process';
import dnsModule from 'node:dns';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { open as openFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ResolveError } from '../../src/core/errors.ts';
import { type DnsOptions, dns } from '../../src/resolvers/dns.ts';
import { fixed } from '../../src/resolvers/fixed.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { DnsServer, DnsWorker } from './support/dns-server.ts';
import { RoundClock, uncaught, until, type Watching, watching } from './support/watching.ts';

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

describe('names', () => {
  it('go through the search domains first when they have few dots', async () => {
    server.addresses(name, ['10.0.0.1']);
    await watch().set(1);
    expect(server.asked.map((one) => one.name)).toEqual([
      'orders.shop.app.svc.cluster.local',
      'orders.shop.app.svc.cluster.local',
      name,
      name,
    ]);
  });

  it('are asked as they are first when they have many dots, or end in a search domain', async () => {
    server.addresses('a.b.c.example.com', ['10.0.0.1']);
    server.addresses(name, ['10.0.0.2']);
    await watch({ ndots: 3 }, 'a.b.c.example.com').set(1);
    await watch({}, name).set(1);
    expect([...new Set(server.asked.map((one) => one.name))]).toEqual(['a.b.c.example.com', name]);
  });

  it('are never completed when they end in a dot', async () => {
    const { error } = watch({}, 'orders.shop.');
    expect((await error(1)).message).toContain('orders.shop. (A: ENOTFOUND');
    expect(server.asked.map((one) => one.name)).toEqual(['orders.shop', 'orders.shop']);
  });

  it('stay with the one that answered, though an earlier one appears', async () => {
    server.addresses(name, ['10.0.0.1']);
    const { set, sets } = watch();
    await set(1);
    server.addresses('orders.shop.app.svc.cluster.local', ['10.0.0.66']);
    server.asked.length = 0;
    await clock.round();
    expect(server.asked.every((one) => one.name === name)).toBe(true);
    expect(sets).toHaveLength(1);
  });

  it.each(['SERVFAIL', 'REFUSED', 'NOTIMP', 'FORMERR', 'garbage'] as const)(
    'after a %s the next candidate is not asked: it may be somebody else',
    async (reply) => {
      server.fail('orders.shop.app.svc.cluster.local', reply);
      server.addresses(name, ['10.0.0.66']);
      const { error, sets } = watch();
      await error(1);
      expect(server.asked.some((one) => one.name === name)).toBe(false);
      expect(sets).toEqual([]);
    },
  );

  it('may be chains of aliases, whose end decides', async () => {
    server.on('orders.shop', 'A', [
      { name: 'orders.shop', type: 'CNAME', ttl: 5, data: 'api.partner.example' },
      { name: 'api.partner.example', type: 'A', ttl: 20, data: '192.0.2.7' },
    ]);
    const { set, infos } = watch({}, 'orders.shop.');
    expect(await set(1)).toEqual(['192.0.2.7:8080']);
    expect(infos[0]?.ttl).toBeLessThanOrEqual(5_500);
  });

  it('have no addresses when an alias leads nowhere', async () => {
    server.on('orders.shop', 'ANY', [{ name: 'orders.shop', type: 'CNAME', ttl: 5, data: 'gone.example' }]);
    expect(await watch({}, 'orders.shop.').set(1)).toEqual([]);
  });
});

describe('the two families', () => {
  const dropAAAA = (): void => server.on(name, 'AAAA', 'drop');

  it('do not wait for one another beyond the deadline', async () => {
    server.addresses(name, ['10.0.0.1']);
    dropAAAA();
    const { set, sets, warnings } = watch({}, `${name}.`);
    await until(() => server.count('AAAA') > 0 && server.count('A') > 0);
    await clock.advance(1_999);
    expect(sets).toEqual([]);
    await clock.advance(1);
    expect(await set(1)).toEqual(['10.0.0.1:8080']);
    expect(warnings.map(String).join()).toContain('no AAAA records now, 0 known ones are kept: ETIMEOUT');
  });

  it('keep what the failing one had while the other changes', async () => {
    server.addresses(name, ['10.0.0.1', 'fd00::1']);
    const { set } = watch({}, `${name}.`);
    await set(1);
    server.addresses(name, ['10.0.0.2']);
    server.on(name, 'AAAA', 'SERVFAIL');
    await clock.round();
    expect(await set(2)).toEqual(['10.0.0.2:8080', '[fd00::1]:8080']);
  });

  it.each(['drop', 'SERVFAIL'] as const)(
    'go on to the next name when A knows no such one and AAAA is %s',
    async (reply) => {
      server.on('*', 'ANY', ({ type }) => (type === 'AAAA' ? reply : 'NXDOMAIN'));
      server.addresses(name, ['10.0.0.1', 'fd00::1']);
      const { set, sets } = watch();
      await until(() => server.asked.length >= 2);
      if (reply === 'drop') {
        // The second question comes with the A answer, whose moment nobody knows.
        await until(() => clock.next === 50);
        await clock.advance(50);
      }
      expect(await set(1)).toEqual(['10.0.0.1:8080', '[fd00::1]:8080']);
      expect(sets).toHaveLength(1);
    },
  );

  it('do not go on when only AAAA knows no such name', async () => {
    server.on('orders.shop.app.svc.cluster.local', 'A', 'SERVFAIL');
    server.on('orders.shop.app.svc.cluster.local', 'AAAA', 'NXDOMAIN');
    server.addresses(name, ['10.0.0.66']);
    const { error, sets } = watch();
    expect(await error(1)).not.toBeInstanceOf(ResolveError);
    expect(server.count('A', name)).toBe(0);
    expect(sets).toEqual([]);
  });

  it('drop what the failing one had after maxStale, though the other is well', async () => {
    server.addresses(name, ['10.0.0.1', 'fd00::1']);
    const { set } = watch({ maxStale: 60_000 }, `${name}.`);
    await set(1);
    server.on(name, 'AAAA', 'SERVFAIL');
    for (let passed = 0; passed < 62_000; ) passed += await clock.round();
    expect(await set(2)).toEqual(['10.0.0.1:8080']);
  });

  it('lose one family at once when a server says that it has no more records', async () => {
    server.addresses(name, ['10.0.0.1', 'fd00::1']);
    const { set } = watch({}, `${name}.`);
    await set(1);
    server.addresses(name, ['10.0.0.1']);
    await clock.round();
    expect(await set(2)).toEqual(['10.0.0.1:8080']);
  });

  it('believe that a name is gone though the family that never had an address is silent', async () => {
    server.addresses(name, ['10.0.0.1']);
    dropAAAA();
    const { set } = watch({}, `${name}.`);
    await until(() => server.count('A') > 0);
    await clock.advance(2_000);
    await set(1);
    await clock.ended(1);
    server.on(name, 'A', 'NXDOMAIN');
    for (const asked of [2, 3]) {
      await clock.advance(clock.next ?? 0);
      await until(() => server.count('A') === asked && server.count('AAAA') >= asked);
      await clock.advance(2_000);
      await clock.ended(asked);
    }
    expect(await set(2)).toEqual([]);
  });
});

describe('failures', () => {
  it.each(['SERVFAIL', 'REFUSED', 'NOTIMP', 'FORMERR', 'garbage'] as const)(
    'such as %s keep the set and are told',
    async (reply) => {
      server.addresses(name, ['10.0.0.1']);
      const { set, sets, errors } = watch({}, `${name}.`);
      await set(1);
      server.fail(name, reply);
      for (let i = 1; i <= 5; i++) {
        await clock.round();
        expect(errors).toHaveLength(i);
      }
      const code = { NOTIMP: 'ENOTIMP', garbage: 'EBADRESP' }[reply as string] ?? `E${reply}`;
      expect(errors.map((error) => (error as NodeJS.ErrnoException).code)).toEqual(Array(5).fill(code));
      expect(sets).toHaveLength(1);
      server.addresses(name, ['10.0.0.1']);
      await clock.round();
      expect(sets).toHaveLength(2);
    },
  );

  it('such as silence end with the deadline and keep the set', async () => {
    server.addresses(name, ['10.0.0.1']);
    const { set, sets, error } = watch({ deadline: 1_500 }, `${name}.`);
    await set(1);
    await clock.ended(1);
    server.fail(name, 'drop');
    const before = server.count('A');
    await clock.advance(clock.next ?? 0);
    await until(() => server.count('A') > before);
    await clock.advance(1_500);
    expect((await error(1)).message).toContain('A: ETIMEOUT, no answer within 1500 ms');
    expect(sets).toHaveLength(1);
  });

  it('with a set are retried every 5 s, a fifth more or less', async () => {
    server.addresses(name, ['10.0.0.1']);
    await watch({}, `${name}.`).set(1);
    server.fail(name, 'SERVFAIL');
    await clock.round();
    for (let i = 0; i < 20; i++) {
      const delay = await clock.round();
      expect(delay).toBeGreaterThanOrEqual(4_000);
      expect(delay).toBeLessThanOrEqual(6_000);
    }
  });

  it('without a set are retried sooner, ever more slowly, with full jitter', async () => {
    server.fail(name, 'SERVFAIL');
    const { error, errors } = watch({ random: () => 0.999 }, `${name}.`);
    expect(await error(1)).not.toBeInstanceOf(ResolveError);
    const delays: number[] = [];
    for (let i = 0; i < 8; i++) delays.push(Math.round(await clock.round()));
    expect(delays).toEqual([100, 200, 400, 799, 1_598, 3_197, 4_995, 4_995]);
    expect(errors).toHaveLength(9);
  });

  it('drop the set after maxStale, with an error', async () => {
    server.addresses(name, ['10.0.0.1']);
    const { set, sets, errors } = watch({ maxStale: 60_000 }, `${name}.`);
    await set(1);
    for (let i = 0; i < 3; i++) await clock.round();
    server.fail(name, 'SERVFAIL');
    let passed = 0;
    while (sets.length === 1) passed += await clock.round();
    expect(passed).toBe(60_000);
    expect(sets[1]).toEqual([]);
    expect(errors.at(-1)?.message).toContain('has not been resolved for 60000 ms: its set is dropped');
    server.addresses(name, ['10.0.0.3']);
    await clock.round();
    expect(await set(3)).toEqual(['10.0.0.3:8080']);
  });

  it('never drop the set when maxStale is Infinity', async () => {
    server.addresses(name, ['10.0.0.1']);
    const { set, sets } = watch({ maxStale: Number.POSITIVE_INFINITY }, `${name}.`);
    await set(1);
    server.fail(name, 'SERVFAIL');
    for (let passed = 0; passed < 900_000; ) passed += await clock.round();
    expect(sets).toHaveLength(1);
  });

  it('of the process itself, such as a late event loop, are not the nameserver’s', async () => {
    const worker = await DnsWorker.start(name, 3);
    const one = watching(dns({ servers: [worker.address], deadline: 100 }), { host: `${name}.` });
    // The questions leave before the event loop turns; then nobody listens until the answers are there and the
    // deadline is past.
    for (let i = 0; i < 100; i++) await Promise.resolve();
    worker.blockUntilAsked(2);
    for (const end = performance.now() + 200; performance.now() < end; );
    await one.set(1);
    expect(one.errors).toEqual([]);
    await one.watch.close();
    await worker.close();
  });

  it('of the process itself, such as a full thread pool, change nothing', async () => {
    server.addresses(name, ['10.0.0.1']);
    const directory = mkdtempSync(join(tmpdir(), 'fifo-'));
    const fifo = join(directory, 'fifo');
    execFileSync('mkfifo', [fifo]);
    // Each holds a thread until somebody opens the other end.
    let held = 16;
    const opening = Array.from({ length: held }, () => openFile(fifo).finally(() => held--));
    await watch().set(1);
    expect(held).toBe(16);
    const other = openSync(fifo, 'r+');
    for (const file of await Promise.all(opening)) await file.close();
    closeSync(other);
    rmSync(directory, { recursive: true });
  });
});

describe('that nothing is there', () => {
  it.each(['NXDOMAIN', 'none'] as const)(
    'is believed when %s is told twice, a second apart',
    async (reply) => {
      server.addresses(name, ['10.0.0.1']);
      const { set, sets } = watch({}, `${name}.`);
      await set(1);
      server.fail(name, reply);
      await clock.round();
      expect(sets).toHaveLength(1);
      expect(await clock.round()).toBe(1_000);
      expect(await set(2)).toEqual([]);
      const delay = await clock.round();
      expect(delay).toBeGreaterThanOrEqual(4_500);
      expect(delay).toBeLessThanOrEqual(5_500);
      expect(sets).toHaveLength(2);
      server.addresses(name, ['10.0.0.2']);
      await clock.round();
      expect(await set(3)).toEqual(['10.0.0.2:8080']);
    },
  );

  it('is not believed once', async () => {
    server.addresses(name, ['10.0.0.1']);
    const { set, sets, errors } = watch({}, `${name}.`);
    await set(1);
    server.fail(name, 'NXDOMAIN');
    await clock.round();
    server.addresses(name, ['10.0.0.1']);
    await clock.round();
    expect(sets).toHaveLength(1);
    expect(errors).toEqual([]);
  });

  it('is told at once, as an error, of a name that never was', async () => {
    const { error, sets } = watch();
    const told = await error(1);
    expect(told).toBeInstanceOf(ResolveError);
    expect((told.cause as NodeJS.ErrnoException).code).toBe('ENOTFOUND');
    await clock.round();
    await error(2);
    expect(sets).toEqual([]);
  });

  it('is told at once, as an empty set with the reason, of a name that exists', async () => {
    server.fail(name, 'none');
    const { set, infos } = watch();
    expect(await set(1)).toEqual([]);
    expect(infos[0]?.note).toMatch(
      /^orders\.shop has no addresses: asked of .*\(A: ENODATA, AAAA: ENODATA\)/,
    );
  });

  it('comes with the reason for those who ask later, too, until something is there', async () => {
    server.addresses(name, ['10.0.0.1']);
    const shared = resolver();
    const first = watching(shared, { host: `${name}.` });
    open.push(first);
    await first.set(1);
    server.fail(name, 'NXDOMAIN');
    await clock.round();
    await clock.round();
    await first.set(2);
    const second = watching(shared, { host: `${name}.` });
    open.push(second);
    expect(await second.set(1)).toEqual([]);
    for (const { infos } of [first, second]) expect(infos.at(-1)?.note).toContain('does not exist');
    server.addresses(name, ['10.0.0.1']);
    await clock.round();
    await first.set(3);
    expect(first.infos.at(-1)?.note).toBeUndefined();
  });
});

describe('nameservers', () => {
  let second: DnsServer;
  beforeEach(async () => {
    second = await DnsServer.start();
    second.addresses(name, ['10.0.0.2']);
  });
  afterEach(() => second.close());

  it.each(['SERVFAIL', 'REFUSED', 'garbage'] as const)(
    'are asked in turn when one says %s',
    async (reply) => {
      server.fail(name, reply);
      const { set, errors } = watch({ servers: [server.address, second.address] }, `${name}.`);
      expect(await set(1)).toEqual(['10.0.0.2:8080']);
      expect(errors).toEqual([]);
    },
  );

  it('that do not listen are passed over at once', async () => {
    await server.close();
    const { set } = watch({ servers: [server.address, second.address] }, `${name}.`);
    expect(await set(1)).toEqual(['10.0.0.2:8080']);
    server = await DnsServer.start();
  });

  it('that stay silent are passed over after 400 ms, and asked last for a minute', async () => {
    server.fail(name, 'drop');
    const { set } = watch({ servers: [server.address, second.address] }, `${name}.`);
    await until(() => server.count('A') > 0 && server.count('AAAA') > 0);
    expect(second.asked).toEqual([]);
    await clock.advance(400);
    expect(await set(1)).toEqual(['10.0.0.2:8080']);
    // Had it waited for c-ares to give up on the first server, the question would have been sent again.
    expect(server.count('A')).toBe(1);
    await clock.ended(1);
    server.asked.length = 0;
    await clock.round();
    expect(server.asked).toEqual([]);
    server.addresses(name, ['10.0.0.1']);
    await clock.round();
    expect(server.asked).toHaveLength(2);
    expect(await set(2)).toEqual(['10.0.0.1:8080']);
  });

  it('are all asked before a short deadline', async () => {
    server.fail(name, 'drop');
    const { set } = watch({ servers: [server.address, second.address], deadline: 100 }, `${name}.`);
    await until(() => server.count('A') > 0 && server.count('AAAA') > 0);
    await clock.advance(50);
    expect(await set(1)).toEqual(['10.0.0.2:8080']);
    await clock.ended(1);
  });

  it('that say a name does not exist are believed', async () => {
    const { error } = watch({ servers: [server.address, second.address] }, `${name}.`);
    await error(1);
    expect(second.asked).toEqual([]);
  });

  it('and search domains come from resolv.conf, read again within the round that fails', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'resolv-'));
    const resolvConf = join(directory, 'resolv.conf');
    // c-ares takes a port here; glibc knows no such thing.
    const write = (at: DnsServer): void =>
      writeFileSync(resolvConf, `search ${search.join(' ')}\nnameserver ${at.address}\noptions ndots:5\n`);
    server.addresses(name, ['10.0.0.1']);
    write(server);
    const made = dns({ resolvConf, clock, random: seeded(1) });
    const one = watching(made);
    open.push(one);
    expect(await one.set(1)).toEqual(['10.0.0.1:8080']);
    write(second);
    server.fail(name, 'SERVFAIL');
    await clock.round();
    expect(one.errors).toEqual([]);
    expect(await one.set(2)).toEqual(['10.0.0.2:8080']);
    rmSync(directory, { recursive: true });
  });

  it('that move are found by all names that fail at once', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'resolv-'));
    const resolvConf = join(directory, 'resolv.conf');
    writeFileSync(resolvConf, `nameserver ${server.address}\n`);
    server.on('*', 'ANY', () => {
      writeFileSync(resolvConf, `nameserver ${second.address}\n`);
      return 'SERVFAIL';
    });
    second.addresses('users.shop', ['10.0.0.3']);
    const made = dns({ resolvConf, clock, random: seeded(1) });
    const both = [watching(made, { host: name }), watching(made, { host: 'users.shop' })];
    open.push(...both);
    expect(await Promise.all(both.map((one) => one.set(1)))).toEqual([['10.0.0.2:8080'], ['10.0.0.3:8080']]);
    expect(both.flatMap(({ errors }) => errors)).toEqual([]);
    rmSync(directory, { recursive: true });
  });

  it('are read again each minute though all is well', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'resolv-'));
    const resolvConf = join(directory, 'resolv.conf');
    server.addresses(name, ['10.0.0.1']);
    writeFileSync(resolvConf, `nameserver ${server.address}\n`);
    const one = watching(dns({ resolvConf, clock, random: seeded(1) }), { host: name });
    open.push(one);
    await one.set(1);
    writeFileSync(resolvConf, `nameserver ${second.address}\n`);
    for (let passed = 0; passed <= 60_000; ) passed += await clock.round();
    expect(await one.set(2)).toEqual(['10.0.0.2:8080']);
    rmSync(directory, { recursive: true });
  });
});

describe('when the next round comes', () => {
  it.each([
    [0, 1_000],
    [1, 1_000],
    [5, 5_000],
    [30, 30_000],
    [3_600, 30_000],
    [2 ** 31 - 1, 30_000],
    [2 ** 31, 1_000],
    [4_294_967_295, 1_000],
  ])('a TTL of %d s means %d ms and up to a tenth more', async (ttl, ms) => {
    server.addresses(name, ['10.0.0.1'], ttl);
    const { set } = watch({}, `${name}.`);
    await set(1);
    for (let i = 0; i < 10; i++) {
      const delay = await clock.round();
      expect(delay).toBeGreaterThanOrEqual(ms);
      expect(delay).toBeLessThanOrEqual(ms * 1.1);
    }
  });

  it('is the least TTL of all records', async () => {
    server.on(name, 'A', [
      { name, type: 'A', ttl: 20, data: '10.0.0.1' },
      { name, type: 'A', ttl: 7, data: '10.0.0.2' },
    ]);
    server.on(name, 'AAAA', [{ name, type: 'AAAA', ttl: 25, data: 'fd00::1' }]);
    const { set, infos } = watch({}, `${name}.`);
    await set(1);
    expect(infos[0]?.ttl).toBeLessThanOrEqual(7_700);
  });

  it('is a second after the last one when refreshes are asked for, however many', async () => {
    server.addresses(name, ['10.0.0.1']);
    const { set, watch: one } = watch({}, `${name}.`);
    await set(1);
    await clock.ended(1);
    for (let second = 0; second < 20; second++) {
      for (let i = 0; i < 1_000; i++) one.refresh();
      const delay = clock.next ?? 0;
      expect(delay).toBeGreaterThanOrEqual(900);
      expect(delay).toBeLessThanOrEqual(1_100);
      const { rounds } = clock;
      await clock.advance(delay);
      await clock.ended(rounds + 1);
    }
    expect(server.count('A')).toBe(21);
  });

  it('is never later than maxTtl, whatever happens', async () => {
    server.addresses(name, ['10.0.0.1']);
    const { set } = watch({ maxTtl: 70 }, `${name}.`);
    await set(1);
    for (const reply of ['SERVFAIL', 'NXDOMAIN', 'NXDOMAIN', 'NXDOMAIN', 'SERVFAIL'] as const) {
      expect(await clock.round()).toBeLessThanOrEqual(84);
      server.fail(name, reply);
    }
    await clock.idle();
  });

  it('is never sooner than minTtl, which may be above the usual most', async () => {
    server.addresses(name, ['10.0.0.1'], 1);
    await watch({ minTtl: 60_000 }, `${name}.`).set(1);
    expect(await clock.round()).toBeGreaterThanOrEqual(60_000);
  });

  it('is never later for a refresh', async () => {
    server.fail(name, 'SERVFAIL');
    const { error, watch: one } = watch({}, `${name}.`);
    await error(1);
    await clock.idle();
    const { next } = clock;
    expect(next).toBeLessThan(100);
    one.refresh();
    expect(clock.next).toBe(next);
  });

  it('is at once when a refresh is asked for long after the last one', async () => {
    server.addresses(name, ['10.0.0.1']);
    const { set, watch: one } = watch({}, `${name}.`);
    await set(1);
    await clock.ended(1);
    await clock.advance(10_000);
    one.refresh();
    expect(clock.next).toBe(0);
  });
});

describe('sets', () => {
  it('are reported once, however the answers are ordered', async () => {
    const all = Array.from({ length: 20 }, (_, i) => `10.0.0.${i + 1}`);
    server.addresses(name, all);
    const { set, sets } = watch({}, `${name}.`);
    await set(1);
    const random = seeded(3);
    for (let i = 0; i < 20; i++) {
      server.addresses(
        name,
        all.toSorted(() => random() - 0.5),
      );
      await clock.round();
    }
    expect(sets).toHaveLength(1);
  });

  it('hold each address once, in one spelling', async () => {
    server.on(
      name,
      'A',
      Array.from({ length: 5 }, () => ({ name, type: 'A', ttl: 30, data: '10.0.0.1' })),
    );
    server.on(name, 'AAAA', [
      { name, type: 'AAAA', ttl: 30, data: '::ffff:10.0.0.1' },
      { name, type: 'AAAA', ttl: 30, data: 'fd00:0:0::1' },
    ]);
    expect(await watch().set(1)).toEqual(['10.0.0.1:8080', '[fd00::1]:8080']);
  });

  it.each([28, 30, 100, 1_000, 4_000])('of %d addresses come complete, over TCP if need be', async (size) => {
    const all = Array.from({ length: size }, (_, i) => `10.1.${i >> 8}.${i & 255}`);
    server.addresses(name, all);
    const { set } = watch({}, `${name}.`);
    expect([...(await set(1))].sort()).toEqual(all.map((address) => `${address}:8080`).sort());
    expect(server.asked.some(({ over }) => over === 'tcp')).toBe(size > 28);
  });

  it('of 4,000 addresses do not stall the process for 50 ms', async () => {
    server.addresses(
      name,
      Array.from({ length: 4_000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`),
    );
    // The server, whose encoding takes longer than anything of ours, runs elsewhere in real life.
    const worker = await DnsWorker.start(name, 4_000);
    const one = watching(resolver({ servers: [worker.address] }), { host: `${name}.` });
    open.push(one);
    await one.set(1);
    await clock.ended(1);
    // Time of this thread's own work, all in one stall at worst, whatever else the machine is doing.
    const rounds: number[] = [];
    for (let i = 0; i < 5; i++) {
      const before = process.threadCpuUsage();
      await clock.round();
      const { user, system } = process.threadCpuUsage(before);
      rounds.push((user + system) / 1_000);
    }
    await worker.close();
    expect(Math.max(...rounds)).toBeLessThan(50);
  });

  it('of more than 5,000 addresses are cut in a repeatable way, with one warning', async () => {
    const four = Array.from({ length: 4_000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`);
    const six = Array.from({ length: 2_000 }, (_, i) => `fd00::${(i + 1).toString(16)}`);
    server.addresses(name, [...four, ...six]);
    const { set, sets, warnings } = watch({}, `${name}.`);
    expect(await set(1)).toHaveLength(5_000);
    server.addresses(name, [...six.toReversed(), ...four.toReversed()]);
    await clock.round();
    expect(sets).toHaveLength(1);
    expect(warnings.map(({ message }) => message)).toEqual([
      `${name}. has 6000 addresses: only the first 5000 in order are used`,
    ]);
  });

  it.each(['reset', 'silent'] as const)(
    'stay as they were when TCP is %s and the answer does not fit',
    async (tcp) => {
      server.addresses(name, ['10.0.0.1']);
      const { set, sets, error } = watch({}, `${name}.`);
      await set(1);
      await clock.ended(1);
      server.tcp = tcp;
      server.on(
        name,
        'A',
        Array.from({ length: 40 }, (_, i) => ({ name, type: 'A', ttl: 30, data: `10.0.0.${i}` })),
      );
      server.on(name, 'AAAA', 'SERVFAIL');
      const asked = server.count('A');
      await clock.advance(clock.next ?? 0);
      await until(() => server.count('A') > asked);
      if (tcp === 'silent') await clock.advance(2_000);
      await error(1);
      expect(sets).toHaveLength(1);
    },
  );

  it('that do not come for want of TCP say so', async () => {
    server.addresses(
      name,
      Array.from({ length: 40 }, (_, i) => `10.0.0.${i}`),
    );
    server.tcp = 'reset';
    const { error } = watch({}, `${name}.`);
    expect((await error(1)).message).toMatch(/port 53 must be open for TCP/);
  });
});

describe('addresses that no endpoint has', () => {
  const poison = [
    '127.0.0.1',
    '127.8.8.8',
    '0.0.0.0',
    '169.254.169.254',
    '224.0.0.1',
    '255.255.255.255',
    '::1',
    '::',
  ];
  const more = ['fe80::1', 'febf::1', 'ff02::1', '::ffff:127.0.0.1', '::ffff:169.254.169.254'];

  it.each([...poison, ...more])('such as %s are refused', async (address) => {
    server.addresses(name, [address]);
    const { error, sets } = watch();
    const told = await error(1);
    expect(told.message).toContain(address.replace('::ffff:', ''));
    expect(told.message).toContain('allowLoopback');
    expect(told).toBeInstanceOf(ResolveError);
    expect(sets).toEqual([]);
  });

  it('do not harm a set that is there', async () => {
    server.addresses(name, ['10.0.0.1']);
    const { set, sets, errors, warnings } = watch();
    await set(1);
    server.addresses(name, ['169.254.169.254']);
    await clock.round();
    expect(warnings.map(String).join()).toContain('1 known ones are kept: EREFUSEDADDRESS');
    server.addresses(name, ['169.254.169.254', 'fe80::1']);
    await clock.round();
    expect(errors).toHaveLength(1);
    expect(sets).toHaveLength(1);
  });

  it('are left out among others, with one warning', async () => {
    server.addresses(name, ['127.0.0.1', '10.0.0.1']);
    const { set, warnings } = watch();
    expect(await set(1)).toEqual(['10.0.0.1:8080']);
    for (let i = 0; i < 3; i++) await clock.round();
    expect(warnings).toHaveLength(1);
    expect(warnings[0]?.message).toContain('127.0.0.1');
  });

  it('are taken where loopback is allowed, or their block is', async () => {
    server.addresses(name, ['127.0.0.1', '10.0.0.1', '169.254.1.1']);
    expect(await watch({ allowLoopback: true }).set(1)).toEqual(['10.0.0.1:8080', '127.0.0.1:8080']);
    expect(await watch({ allow: ['127.0.0.0/8', '169.254.0.0/16'] }).set(1)).toEqual([
      '127.0.0.1:8080',
      '169.254.1.1:8080',
    ]);
  });
});

describe('hosts that need no DNS', () => {
  it.each([
    ['localhost', ['127.0.0.1:8080', '[::1]:8080']],
    ['app.localhost', ['127.0.0.1:8080', '[::1]:8080']],
    ['192.0.2.1', ['192.0.2.1:8080']],
    ['[fd00::0:1]', ['[fd00::1]:8080']],
  ])('%s', async (host, set) => {
    expect(await watch({}, host).set(1)).toEqual(set);
    expect(server.asked).toEqual([]);
  });

  it('are those of a hosts file where an option asks for it', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'hosts-'));
    const hosts = join(directory, 'hosts');
    writeFileSync(
      hosts,
      '# aliases\n127.0.0.1 Orders.Shop other # here\nfd00:0::1\torders.shop\n10.0.0.9 x\n',
    );
    expect(await watch({ hosts }).set(1)).toEqual(['127.0.0.1:8080', '[fd00::1]:8080']);
    expect(server.asked).toEqual([]);
    server.addresses('third', ['10.0.0.3']);
    expect(await watch({ hosts }, 'third.').set(1)).toEqual(['10.0.0.3:8080']);
    rmSync(directory, { recursive: true });
  });

  it('and all others, never go through the thread pool', async () => {
    const lookup = vi.spyOn(dnsModule, 'lookup');
    const lookups = vi.spyOn(dnsModule.promises, 'lookup');
    server.addresses(name, ['10.0.0.1']);
    for (const host of ['localhost', '192.0.2.1', name]) await watch({}, host).set(1);
    expect(lookup).not.toHaveBeenCalled();
    expect(lookups).not.toHaveBeenCalled();
    vi.restoreAllMocks();
  });
});

describe('bad input', () => {
  it.each([
    ['a NUL', 'a\0b.svc'],
    ['a space', 'a b'],
    ['an empty label', 'a..b'],
    ['nothing', ''],
    ['an over-long label', `${'a'.repeat(64)}.svc`],
    ['an over-long name', `${'a.'.repeat(127)}a`],
    ['unicode', 'bücher.shop'],
    ['legacy IPv4', '127.1'],
    ['a number', '2130706433'],
    ['hexadecimal', '0x7f.1'],
    ['a path', 'a/b'],
  ])('%s as a host is refused before any question', (_, host) => {
    expect(() => watch({}, host)).toThrow(TypeError);
    expect(server.asked).toEqual([]);
  });

  it.each([['a'], ['a.'], ['1.'], ['0x'], [':'], ['[:'], ['-']])(
    'a megabyte of %j is refused at once',
    (part) => {
      const text = part.repeat((1 << 20) / part.length);
      const start = performance.now();
      expect(() => watch({}, text)).toThrow(TypeError);
      expect(() => dns({ servers: [text] })).toThrow(TypeError);
      expect(() => dns({ search: [text] })).toThrow(TypeError);
      expect(() => dns({ allow: [text] })).toThrow(TypeError);
      expect(() => fixed([text])).toThrow(TypeError);
      // Five checks; anything that is not linear takes minutes.
      expect(performance.now() - start).toBeLessThan(2_000);
    },
  );

  it('a port that is only a name is refused, saying what to do', () => {
    expect(() => watching(resolver(), { port: 'http' })).toThrow(
      /"http" of orders\.shop is a name.*dnsSrv\(\)/,
    );
  });

  it.each([
    ['10.0.0.1:0', RangeError],
    ['10.0.0.1:99999', RangeError],
    ['[::1]:0', RangeError],
    ['10.0.0.1:', TypeError],
    ['10.0.0.1:x', TypeError],
    ['10.0.0', TypeError],
    ['localhost', TypeError],
    ['dns.example', TypeError],
    ['fe80::1%eth0', TypeError],
    ['', TypeError],
    [53, TypeError],
  ])('the nameserver %j is refused at construction', (text, kind) => {
    expect(() => dns({ servers: ['10.0.0.1', text as string] })).toThrow(kind);
    expect(() => dns({ servers: ['10.0.0.1', text as string] })).toThrow(/^dns: option servers\[1\]/);
  });

  it.each([
    [{ family: 5 }, /family must be one of 4, 6, "both"/],
    [{ servers: [] }, /servers must not be empty/],
    [{ search: ['a b'] }, /search\[0\] must be a domain/],
    [{ ndots: 16 }, /ndots must be between 0 and 15/],
    [{ minTtl: 0 }, /minTtl must be between/],
    [{ minTtl: 5_000, maxTtl: 1_000 }, /minTtl must not be above maxTtl/],
    [{ maxStale: -1 }, /maxStale must be between/],
    [{ deadline: 0 }, /deadline must be more than 0/],
    [{ hosts: 1 }, /hosts must be/],
    [{ allow: ['10.0.0.0'] }, /allow\[0\] must be a CIDR block/],
    [{ allow: ['10.0.0.0/33'] }, /allow\[0\] must be a CIDR block/],
    [{ clock: {} }, /clock must be a Clock/],
    [{ ttl: 5 }, /unknown option ttl: known are/],
    [JSON.parse('{"__proto__": 1, "constructor": 2}'), /unknown option (__proto__|constructor)/],
  ])('options %j are refused, naming what is wrong', (options, message) => {
    expect(() => dns(options as DnsOptions)).toThrow(message);
  });
});

describe('a listener that throws', () => {
  it('ends neither its own watch nor those of others, and what it threw is not lost', async () => {
    server.addresses(name, ['10.0.0.1']);
    const shared = resolver();
    const { thrown, restore } = uncaught();
    const clumsy = shared.watch(
      { protocol: 'http:', host: 'orders.shop', port: 80 },
      {
        onEndpoints: () => {
          throw new Error('of a set');
        },
        onError: () => {
          throw new Error('of an error');
        },
      },
    );
    try {
      const other = watching(shared);
      open.push(other);
      await other.set(1);
      server.fail(name, 'SERVFAIL');
      await clock.round();
      await other.error(1);
      server.addresses(name, ['10.0.0.2']);
      await clock.round();
      expect(await other.set(2)).toEqual(['10.0.0.2:8080']);
      expect(thrown.map(String)).toEqual(['Error: of a set', 'Error: of an error', 'Error: of a set']);
    } finally {
      await clumsy.close();
      restore();
    }
  });
});

describe('close', () => {
  it('ends a round in flight at once', async () => {
    server.fail(name, 'drop');
    const one = watching(resolver(), { host: `${name}.` });
    await until(() => server.asked.length === 2);
    await one.watch.close();
    expect(clock.pending).toBe(0);
    expect([...one.errors, ...one.sets]).toEqual([]);
  });

  it('of one watch leaves the others of the same name', async () => {
    server.addresses(name, ['10.0.0.1']);
    const shared = resolver();
    const [a, b] = [watching(shared), watching(shared)];
    await Promise.all([a.set(1), b.set(1)]);
    await clock.ended(1);
    await a.watch.close();
    server.addresses(name, ['10.0.0.2']);
    await clock.round();
    await b.set(2);
    expect(a.sets).toHaveLength(1);
    await b.watch.close();
    expect(clock.pending).toBe(0);
  });

  it.each(['answering', 'silent'])(
    'is not needed for the process to end, the nameserver %s',
    async (state) => {
      if (state === 'silent') server.fail(name, 'drop');
      else server.addresses(name, ['10.0.0.1']);
      const module = new URL('../../src/resolvers/dns.ts', import.meta.url);
      const code = `
      import { dns } from ${JSON.stringify(String(module))};
      const listener = { onEndpoints() {}, onError() {} };
      dns({ servers: ['${server.address}'], deadline: 500 }).watch({ protocol: 'http:', host: '${name}.' }, listener);`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'inherit' });
      const [status] = await once(child, 'exit');
      expect(status).toBe(0);
      expect(server.count('A')).toBeGreaterThan(0);
    },
  );

  it('of one watch leaves it to a later one to be told what is known', async () => {
    server.addresses(name, ['10.0.0.1']);
    const shared = resolver();
    const first = watching(shared);
    open.push(first);
    await first.set(1);
    await clock.idle();
    const asked = server.asked.length;
    const second = watching(shared, { port: 9090 });
    open.push(second);
    expect(await second.set(1)).toEqual(['10.0.0.1:9090']);
    expect(server.asked).toHaveLength(asked);
    server.fail(name, 'SERVFAIL');
    await clock.round();
    const third = watching(shared);
    open.push(third);
    await third.error(1);
    expect(third.sets).toEqual([['10.0.0.1:8080']]);
  });

  it('leaves no socket and no timer behind', async () => {
    const before = process.getActiveResourcesInfo().sort();
    server.addresses(
      name,
      Array.from({ length: 100 }, (_, i) => `10.0.0.${i}`),
    );
    const one = watching(dns({ servers: [server.address], search }));
    await one.set(1);
    await one.watch.close();
    await until(() => process.getActiveResourcesInfo().length <= before.length, 'the end of all sockets');
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
