import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { existence } from '../../../src/resolvers/dns/existence.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';
import { DnsServer, type Reply } from '../support/dns-server.ts';
import { until } from '../support/watching.ts';

const name = 'orders.shop.svc.cluster.local';

let first: DnsServer;
let second: DnsServer;
let clock: FakeClock;
let directory: string;
let exists: (name: string) => Promise<boolean | undefined>;

beforeEach(async () => {
  [first, second] = [await DnsServer.start(), await DnsServer.start()];
  clock = new FakeClock();
  directory = mkdtempSync(join(tmpdir(), 'resolv-'));
  const resolvConf = join(directory, 'resolv.conf');
  writeFileSync(resolvConf, `nameserver ${first.address}\nnameserver ${second.address}\n`);
  exists = existence({ resolvConf, clock });
});

afterEach(async () => {
  await Promise.all([first.close(), second.close()]);
  rmSync(directory, { recursive: true });
  expect(clock.pending).toBe(0);
});

describe('existence', () => {
  it.each<[string, Reply, boolean]>([
    ['with an address', [{ name, type: 'A', ttl: 5, data: '10.0.0.1' }], true],
    ['without one', 'none', true],
    ['that leads to another', [{ name, type: 'CNAME', ttl: 5, data: 'api.example' }], true],
    ['that is none', 'NXDOMAIN', false],
  ])('of a name %s', async (_, reply, expected) => {
    first.on(name, 'A', reply);
    expect(await exists(`${name}.`)).toBe(expected);
    expect(first.asked).toHaveLength(1);
    expect(second.asked).toHaveLength(0);
  });

  it('is what the next nameserver says, where one cannot say', async () => {
    first.fail(name, 'SERVFAIL');
    second.addresses(name, ['10.0.0.1']);
    expect(await exists(`${name}.`)).toBe(true);
  });

  it('is unknown where none can say', async () => {
    first.fail(name, 'SERVFAIL');
    second.fail(name, 'REFUSED');
    expect(await exists(`${name}.`)).toBeUndefined();
  });

  it('is unknown after a second of silence, however many nameservers there are', async () => {
    for (const server of [first, second]) server.fail(name, 'drop');
    const answer = exists(`${name}.`);
    await until(() => first.asked.length === 1);
    await clock.advance(400);
    await until(() => second.asked.length === 1);
    await clock.advance(600);
    expect(await answer).toBeUndefined();
  });
});
