import { describe, it } from 'vitest';
import { dns } from '../../src/resolvers/dns.ts';
import { dnsSrv } from '../../src/resolvers/dns-srv.ts';
import { env } from '../../src/resolvers/env.ts';
import { fallback } from '../../src/resolvers/fallback.ts';
import { fixed } from '../../src/resolvers/fixed.ts';
import { polling } from '../../src/resolvers/polling.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { type ResolverSubject, resolverSuite } from '../../src/testing/resolver-suite.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { DnsServer } from '../resolvers/support/dns-server.ts';
import { RoundClock } from '../resolvers/support/watching.ts';

const runner = { describe, it };

describe('fixed', () => resolverSuite(() => fixed(['10.0.0.1:80', '[fd00::1]:8080', '10.0.0.1']), runner));

describe('env', () =>
  resolverSuite(() => env({ ORDERS_SERVICE_HOST: '10.0.0.1', ORDERS_SERVICE_PORT: '80' }), runner));

describe('env without variables', () => resolverSuite(() => env({}), runner));

describe('FakeResolver', () => resolverSuite(() => faked(new FakeResolver()), runner));

describe('fallback on its first', () => {
  resolverSuite(() => {
    const fake = new FakeResolver();
    return { ...faked(fake), resolver: fallback(fake) };
  }, runner);
});

describe('fallback on its last', () => {
  resolverSuite(() => {
    const broken = new FakeResolver();
    broken.fail('always');
    const fake = new FakeResolver();
    return { ...faked(fake), resolver: fallback(broken, fake) };
  }, runner);
});

describe('polling', () => {
  resolverSuite(() => {
    const clock = new RoundClock();
    let known: readonly string[] | undefined = [];
    const resolver = polling(
      async () => {
        if (known === undefined) throw new Error('the source is down');
        return { endpoints: known };
      },
      { clock, random: seeded(1) },
    );
    return {
      resolver,
      set: (addresses) => {
        known = addresses;
      },
      fail: () => {
        known = undefined;
      },
      next: () => clock.advance(clock.next ?? 0),
    };
  }, runner);
});

describe('dns', () =>
  resolverSuite(
    () =>
      onServer(
        (options) => dns(options),
        (server, addresses) => server.addresses('orders.shop', addresses),
      ),
    runner,
  ));

describe('dnsSrv', () =>
  resolverSuite(
    () =>
      onServer(
        (options) => dnsSrv(options),
        (server, addresses) => {
          const targets = addresses.map((address) => `${address.replaceAll('.', '-')}.pods.test`);
          for (const [i, target] of targets.entries()) server.addresses(target, [addresses[i] as string]);
          if (targets.length === 0) server.fail('_http._tcp.orders.shop', 'NXDOMAIN');
          else
            server.srv(
              '_http._tcp.orders.shop',
              targets.map((target) => ({ target, port: 8080 })),
            );
        },
      ),
    runner,
  ));

function faked(fake: FakeResolver): ResolverSubject {
  return { resolver: fake, set: (addresses) => fake.set(addresses), fail: () => fake.fail() };
}

async function onServer(
  make: (options: object) => ResolverSubject['resolver'],
  set: (server: DnsServer, addresses: readonly string[]) => void,
): Promise<ResolverSubject> {
  const server = await DnsServer.start();
  const clock = new RoundClock();
  const resolver = make({ servers: [server.address], search: [], clock, random: seeded(1) });
  server.on('*', 'ANY', 'none');
  return {
    resolver,
    set(addresses) {
      set(server, addresses);
    },
    fail() {
      for (const name of ['orders.shop', '_http._tcp.orders.shop']) server.fail(name, 'SERVFAIL');
    },
    async next() {
      // A round in flight has only its deadline to wait for, which is not to pass.
      if (clock.next !== undefined && clock.next !== 2_000) await clock.advance(clock.next);
    },
    close: () => server.close(),
  };
}
