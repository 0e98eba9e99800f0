import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DnsSrvOptions, dnsSrv } from '../../src/resolvers/dns-srv.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { DnsServer } from './support/dns-server.ts';
import { RoundClock, until, type Watching, watching } from './support/watching.ts';

const service = 'orders.shop.svc.cluster.local';
const record = `_http._tcp.${service}`;

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

function watch(options: DnsSrvOptions = {}, target: Parameters<typeof watching>[1] = {}): Watching {
  const search = ['app.svc.cluster.local', 'svc.cluster.local', 'cluster.local'];
  const resolver = dnsSrv({
    servers: [server.address],
    search,
    ndots: 5,
    clock,
    random: seeded(1),
    ...options,
  });
  const one = watching(resolver, { host: 'orders.shop', port: 'http', ...target });
  open.push(one);
  return one;
}

/** A headless Service as CoreDNS serves it: a record and a name per pod, and all addresses at the Service's name. */
function headless(addresses: readonly string[], port = 8080): void {
  const targets = addresses.map((address) => `${address.replaceAll(/[.:]/g, '-')}.${service}`);
  for (const [i, target] of targets.entries()) server.addresses(target, [addresses[i] as string]);
  server.addresses(service, addresses);
  const weight = Math.max(1, Math.floor(100 / targets.length));
  server.srv(
    record,
    targets.map((target) => ({ target, port, weight })),
  );
}

describe('ports and weights', () => {
  it('are those of the records', async () => {
    server.srv('_grpc._tcp.orders.example', [
      { target: 'a.example', port: 9001, weight: 10 },
      { target: 'b.example', port: 9002, weight: 30 },
    ]);
    server.addresses('a.example', ['192.0.2.1']);
    server.addresses('b.example', ['192.0.2.2', '2001:db8::2']);
    const { set, endpoints, infos } = watch({}, { host: 'orders.example.', port: 'grpc' });
    await set(1);
    expect(endpoints[0]).toEqual([
      { id: '192.0.2.1:9001', address: '192.0.2.1', port: 9001, weight: 10 },
      { id: '192.0.2.2:9002', address: '192.0.2.2', port: 9002, weight: 15 },
      { id: '[2001:db8::2]:9002', address: '2001:db8::2', port: 9002, weight: 15 },
    ]);
    expect(infos[0]?.source).toBe('dns-srv');
  });

  it.each([
    ['the same for all are no weights', [7, 7], [undefined, undefined]],
    ['of 0 for all are no weights', [0, 0], [undefined, undefined]],
    ['of 0 among others are 1 in all', [0, 0, 98], [0.5, 0.5, 98]],
  ])('%s', async (_, weights, expected) => {
    server.srv(
      '_http._tcp.orders.example',
      weights.map((weight, i) => ({ target: `t${i}.example`, port: 80, weight })),
    );
    for (const i of weights.keys()) server.addresses(`t${i}.example`, [`192.0.2.${i}`]);
    const { set, endpoints } = watch({}, { host: 'orders.example.' });
    await set(1);
    expect(endpoints[0]?.map(({ weight }) => weight)).toEqual(expected);
  });

  it('are asked for by the name in the options, or that of the protocol, where the target has a number', async () => {
    headless(['10.0.0.1']);
    expect(await watch({}, { port: 80 }).set(1)).toEqual(['10.0.0.1:8080']);
    server.srv(`_grpc._udp.${service}`, [{ target: service, port: 9000 }]);
    expect(await watch({ portName: 'grpc', protocol: 'udp' }, { port: 80 }).set(1)).toEqual([
      '10.0.0.1:9000',
    ]);
    expect(await watch({}, { host: `_grpc._udp.${service}.` }).set(1)).toEqual(['10.0.0.1:9000']);
  });
});

describe('names', () => {
  it('are completed as those of the host are, whatever the dots of the prefix', async () => {
    server.fail('_http._tcp.orders', 'REFUSED');
    server.srv('_http._tcp.orders.shop.test', [{ target: 'a.example', port: 81 }]);
    server.addresses('a.example', ['192.0.2.1']);
    const options = { search: ['shop.test'], ndots: 1 };
    expect(await watch(options, { host: 'orders' }).set(1)).toEqual(['192.0.2.1:81']);
    expect(await watch(options, { host: '_http._tcp.orders' }).set(1)).toEqual(['192.0.2.1:81']);
  });
});

describe('long names', () => {
  const host = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.${'d'.repeat(49)}`;

  it('are not completed where the whole would be too long for a name', async () => {
    server.srv(`_http._tcp.${host}`, [{ target: 'a.example', port: 81 }]);
    server.addresses('a.example', ['192.0.2.1']);
    expect(await watch({ search: ['example.org'] }, { host }).set(1)).toEqual(['192.0.2.1:81']);
  });

  it('are refused where there is no room for the prefix', () => {
    expect(() => watch({}, { host: `${host}.example.org` })).toThrow(/is longer than 253 characters/);
    expect(server.asked).toEqual([]);
  });
});

describe('priorities', () => {
  beforeEach(() => {
    server.srv('_http._tcp.orders.example', [
      { target: 'main.example', port: 80, priority: 1, weight: 1 },
      { target: 'spare.example', port: 81, priority: 2, weight: 2 },
      { target: 'last.example', port: 82, priority: 3, weight: 3 },
    ]);
    server.addresses('main.example', ['192.0.2.1'], 1);
    server.addresses('spare.example', ['192.0.2.2'], 1);
    server.addresses('last.example', ['192.0.2.3'], 1);
  });

  it('use the lowest only', async () => {
    expect(await watch({}, { host: 'orders.example.' }).set(1)).toEqual(['192.0.2.1:80']);
  });

  it('go on to the next when the lowest has no addresses, and back', async () => {
    const { set } = watch({}, { host: 'orders.example.' });
    await set(1);
    server.fail('main.example', 'NXDOMAIN');
    await clock.round();
    expect(await set(2)).toEqual(['192.0.2.2:81']);
    server.addresses('main.example', ['192.0.2.1'], 1);
    for (let i = 0; i < 6; i++) await clock.round();
    expect(await set(3)).toEqual(['192.0.2.1:80']);
  });

  it('stay where they are while the lowest cannot be looked up', async () => {
    const { set, sets, warnings } = watch({}, { host: 'orders.example.' });
    await set(1);
    server.fail('main.example', 'SERVFAIL');
    for (let i = 0; i < 4; i++) await clock.round();
    expect(sets).toHaveLength(1);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]?.message).toContain('main.example. (A: ESERVFAIL, AAAA: ESERVFAIL)');
  });
});

describe('a Kubernetes Service', () => {
  it('takes one SRV question and one of each family, however many its pods', async () => {
    headless(Array.from({ length: 200 }, (_, i) => `10.0.0.${i}`));
    const { set } = watch({}, { host: `${service}.` });
    expect(await set(1)).toHaveLength(200);
    expect(server.asked.filter(({ over }) => over === 'udp').map(({ type }) => type)).toEqual([
      'SRV',
      'A',
      'AAAA',
    ]);
  });

  it('of two families does too', async () => {
    headless(['10.0.0.1', 'fd00::1']);
    expect(await watch({}, { host: `${service}.` }).set(1)).toEqual(['10.0.0.1:8080', '[fd00::1]:8080']);
    expect(server.asked).toHaveLength(3);
  });

  /** Pods of a StatefulSet: one name for both addresses. */
  function named(...pods: readonly (readonly string[])[]): void {
    for (const [i, addresses] of pods.entries()) server.addresses(`web-${i}.${service}`, addresses);
    server.addresses(service, pods.flat());
    server.srv(
      record,
      pods.map((_, i) => ({ target: `web-${i}.${service}`, port: 8080 })),
    );
  }

  it('of two families whose pods have names of their own does too', async () => {
    named(['10.0.0.1', 'fd00::1'], ['10.0.0.2', 'fd00::2']);
    expect(await watch({}, { host: `${service}.` }).set(1)).toHaveLength(4);
    expect(server.asked).toHaveLength(3);
  });

  it('of two families does not take in pods that do not have the port', async () => {
    named(['10.0.0.1', 'fd00::1']);
    server.addresses(service, ['10.0.0.1', 'fd00::1', '10.0.0.2', 'fd00::2']);
    expect(await watch().set(1)).toEqual(['10.0.0.1:8080', '[fd00::1]:8080']);
    headless(['10.0.0.1', 'fd00::1']);
    server.addresses(service, ['10.0.0.1', 'fd00::1', '10.0.0.2', 'fd00::2']);
    expect(await watch().set(1)).toEqual(['10.0.0.1:8080', '[fd00::1]:8080']);
  });

  it('does not take in pods that do not have the port', async () => {
    headless(['10.0.0.1', '10.0.0.2']);
    server.addresses(service, ['10.0.0.1', '10.0.0.2', '10.0.0.3']);
    expect(await watch().set(1)).toEqual(['10.0.0.1:8080', '10.0.0.2:8080']);
  });

  it('with a ClusterIP is one endpoint, at the port of the record', async () => {
    server.srv(record, [{ target: service, port: 8080 }]);
    server.addresses(service, ['10.96.0.7']);
    expect(await watch().set(1)).toEqual(['10.96.0.7:8080']);
  });

  it('tells the same endpoints as its pods come and go', async () => {
    headless(['10.0.0.1', '10.0.0.2']);
    const { set, endpoints } = watch();
    await set(1);
    headless(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
    await clock.round();
    await set(2);
    expect(endpoints[1]?.slice(0, 2)).toEqual(endpoints[0]);
  });

  it('without ready pods is empty once that is told twice', async () => {
    headless(['10.0.0.1']);
    const { set, sets } = watch();
    await set(1);
    for (const name of [record, service]) server.fail(name, 'NXDOMAIN');
    await clock.round();
    expect(sets).toHaveLength(1);
    await clock.round();
    expect(await set(2)).toEqual([]);
  });
});

describe('targets', () => {
  const many = (size: number): string[] => Array.from({ length: size }, (_, i) => `t${i}.example`);

  it('are looked up eight at a time', async () => {
    const targets = many(40);
    server.srv(
      '_http._tcp.orders.example',
      targets.map((target, i) => ({ target, port: 80 + i })),
    );
    for (const target of targets) server.fail(target, 'drop');
    watch({}, { host: 'orders.example.' });
    await until(() => server.count('A') === 8 && server.count('AAAA') === 8);
    // Everything that could have been sent by now has been.
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(server.count('A')).toBe(8);
  });

  it('are looked up again when their own TTL has passed, not before', async () => {
    server.srv('_http._tcp.orders.example', [
      { target: 'short.example', port: 80 },
      { target: 'long.example', port: 81 },
    ]);
    server.addresses('short.example', ['192.0.2.1'], 5);
    server.addresses('long.example', ['192.0.2.2'], 25);
    await watch({}, { host: 'orders.example.' }).set(1);
    for (let i = 0; i < 4; i++) await clock.round();
    expect(server.count('A', 'short.example')).toBe(5);
    expect(server.count('A', 'long.example')).toBe(1);
  });

  it('are looked up again when a refresh is asked for', async () => {
    server.srv('_http._tcp.orders.example', [{ target: 'a.example', port: 80 }]);
    server.addresses('a.example', ['192.0.2.1']);
    const { set, watch: one } = watch({}, { host: 'orders.example.' });
    await set(1);
    await clock.idle();
    server.addresses('a.example', ['192.0.2.2']);
    one.refresh();
    expect(await clock.round()).toBeLessThanOrEqual(1_100);
    expect(await set(2)).toEqual(['192.0.2.2:80']);
  });

  it('are asked eight at a time for refreshes, each in its turn', async () => {
    const targets = many(20);
    server.srv(
      '_http._tcp.orders.example',
      targets.map((target, i) => ({ target, port: 80 + i })),
    );
    for (const [i, target] of targets.entries()) server.addresses(target, [`192.0.2.${i}`]);
    const { set, watch: one } = watch({ family: 4 }, { host: 'orders.example.' });
    await set(1);
    for (const asked of [28, 36, 44]) {
      await clock.idle();
      one.refresh();
      expect(await clock.round()).toBeLessThanOrEqual(1_100);
      expect(server.count('A')).toBe(asked);
    }
    for (const target of targets) expect(server.count('A', target)).toBeGreaterThanOrEqual(2);
  });

  it('that the records name no more are dropped', async () => {
    server.srv('_http._tcp.orders.example', [
      { target: 'a.example', port: 80 },
      { target: 'b.example', port: 81 },
    ]);
    server.addresses('a.example', ['192.0.2.1']);
    server.addresses('b.example', ['192.0.2.2']);
    const { set } = watch({}, { host: 'orders.example.' });
    await set(1);
    server.srv('_http._tcp.orders.example', [{ target: 'b.example', port: 81 }]);
    await clock.round();
    expect(await set(2)).toEqual(['192.0.2.2:81']);
  });

  it('that cannot be looked up are dropped after maxStale, though the records are well', async () => {
    server.srv('_http._tcp.orders.example', [
      { target: 'a.example', port: 80 },
      { target: 'b.example', port: 81 },
    ]);
    server.addresses('a.example', ['192.0.2.1']);
    server.addresses('b.example', ['192.0.2.2']);
    const { set, sets } = watch({ maxStale: 60_000 }, { host: 'orders.example.' });
    await set(1);
    server.fail('a.example', 'SERVFAIL');
    let passed = 0;
    while (sets.length === 1 && passed < 200_000) passed += await clock.round();
    expect(await set(2)).toEqual(['192.0.2.2:81']);
    expect(passed).toBeGreaterThanOrEqual(60_000);
    expect(passed).toBeLessThanOrEqual(66_000);
  });

  it('none of which can be looked up leave a stale set, dropped after maxStale', async () => {
    server.srv('_http._tcp.orders.example', [{ target: 'a.example', port: 80 }]);
    server.addresses('a.example', ['192.0.2.1']);
    const { set, sets, errors } = watch({ maxStale: 60_000 }, { host: 'orders.example.' });
    await set(1);
    server.fail('a.example', 'SERVFAIL');
    await clock.round();
    expect(errors).toHaveLength(1);
    let passed = 0;
    while (sets.length === 1 && passed < 200_000) passed += await clock.round();
    expect(await set(2)).toEqual([]);
    expect(errors.at(-1)?.message).toContain('has not been resolved for 60000 ms: its set is dropped');
  });

  it('of more than 5,000 addresses are cut in a repeatable way, with one warning', async () => {
    const targets = Array.from({ length: 3 }, (_, i) => `t${i}.example`);
    const records = targets.map((target, i) => ({ target, port: 80 + i }));
    server.srv('_http._tcp.orders.example', records);
    for (const [i, target] of targets.entries())
      server.addresses(
        target,
        Array.from({ length: 2_000 }, (_, j) => `10.${i}.${j >> 8}.${j & 255}`),
      );
    const { set, sets, warnings } = watch({}, { host: 'orders.example.' });
    expect(await set(1)).toHaveLength(5_000);
    server.srv('_http._tcp.orders.example', records.toReversed());
    await clock.round();
    expect(sets).toHaveLength(1);
    expect(warnings.map(({ message }) => message)).toEqual([
      '_http._tcp.orders.example. has 6000 addresses: only the first 5000 in order are used',
    ]);
  });

  it('of "." or port 0 say that there is no such service', async () => {
    server.srv('_http._tcp.orders.example', [{ target: '.', port: 0 }]);
    expect(await watch({}, { host: 'orders.example.' }).set(1)).toEqual([]);
  });

  it('may not be poisoned', async () => {
    server.srv('_http._tcp.orders.example', [{ target: 'a.example', port: 80 }]);
    server.addresses('a.example', ['169.254.169.254']);
    expect((await watch({}, { host: 'orders.example.' }).error(1)).message).toContain('169.254.169.254');
  });
});

describe('without SRV records', () => {
  it('a numeric port is dialled at the addresses of the name, with a warning', async () => {
    server.addresses(service, ['10.0.0.1']);
    const { set, warnings } = watch({}, { port: 9090 });
    expect(await set(1)).toEqual(['10.0.0.1:9090']);
    expect(warnings.map(String).join()).toMatch(
      /only ports with a name have SRV records; port 9090 is used instead/,
    );
  });

  it('a named port is an error that tells what was asked', async () => {
    server.addresses(service, ['10.0.0.1']);
    const { error, sets } = watch();
    const { message, cause } = await error(1);
    expect(message).toContain(`${record}. (SRV: ENOTFOUND)`);
    expect(message).toContain('only ports with a name have SRV records');
    expect((cause as NodeJS.ErrnoException).code).toBe('ENOTFOUND');
    expect(sets).toEqual([]);
  });

  it('that were there before, no other port takes their place', async () => {
    headless(['10.0.0.1']);
    const { set } = watch({}, { port: 80 });
    await set(1);
    server.fail(record, 'NXDOMAIN');
    await clock.round();
    await clock.round();
    expect(await set(2)).toEqual([]);
  });

  it('because they do not fit into a datagram and TCP is closed, the set stays and the error says so', async () => {
    headless(['10.0.0.1']);
    const { set, sets, error } = watch({}, { host: `${service}.` });
    await set(1);
    headless(Array.from({ length: 30 }, (_, i) => `10.0.0.${i}`));
    server.tcp = 'reset';
    await clock.round();
    expect((await error(1)).message).toMatch(/SRV: ECONNREFUSED.*port 53 must be open for TCP/);
    expect(sets).toHaveLength(1);
  });

  it('because a nameserver fails, the set stays', async () => {
    headless(['10.0.0.1']);
    const { set, sets, error } = watch({}, { port: 80 });
    await set(1);
    server.fail(record, 'SERVFAIL');
    await clock.round();
    await error(1);
    expect(sets).toHaveLength(1);
  });
});

describe('bad input', () => {
  it.each([
    [{ protocol: 'sctp' }, /^dnsSrv: option protocol must be one of/],
    [{ portName: '' }, /^dnsSrv: option portName must be a non-empty string/],
    [{ portName: 'a b' }, /^dnsSrv: option portName must be the name of a port, got "a b"/],
    [{ portName: 'a.b' }, /^dnsSrv: option portName must be the name of a port/],
    [{ servers: ['x'] }, /^dnsSrv: option servers\[0\]/],
    [{ bogus: 1 }, /^dnsSrv: unknown option bogus/],
  ])('options %j are refused', (options, message) => {
    expect(() => dnsSrv(options as DnsSrvOptions)).toThrow(message);
  });

  it('hosts are refused before any question', () => {
    expect(() => watch({}, { host: 'a..b' })).toThrow(TypeError);
  });

  it('localhost needs no DNS', async () => {
    expect(await watch({}, { host: 'localhost', port: 80 }).set(1)).toEqual(['127.0.0.1:80', '[::1]:80']);
    expect(server.asked).toEqual([]);
  });
});
