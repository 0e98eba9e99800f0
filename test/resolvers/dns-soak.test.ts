import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { dns } from '../../src/resolvers/dns.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { DnsServer } from './support/dns-server.ts';
import { RoundClock, until } from './support/watching.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const name = 'orders.shop.svc.cluster.local';
const hour = 3_600_000;
const pods = (from: number, count = 10): string[] =>
  Array.from({ length: count }, (_, i) => `10.0.${from}.${i}`);

/** What DNS does in one hour, and how often it may be asked for A records meanwhile. */
interface Hour {
  readonly what: string;
  begin(server: DnsServer): void;
  /** Called before each round. */
  each?(server: DnsServer, round: number): void;
  readonly silent?: boolean;
  readonly least: number;
  readonly most: number;
}

// Rounds per hour: a TTL of 30 s and up to a tenth more; at most one a second; failures every 4 to 6 s.
const calm = { least: 109, most: 121 };
const failing = { least: 450, most: 920 };

const day: readonly Hour[] = [
  { what: 'all is well', begin: (server) => server.addresses(name, pods(1)), ...calm },
  { what: 'a TTL of 0', begin: (server) => server.addresses(name, pods(1), 0), least: 3_270, most: 3_601 },
  {
    what: 'a TTL beyond all bounds',
    begin: (server) => server.addresses(name, pods(1), 4_294_967_295),
    least: 3_270,
    most: 3_601,
  },
  { what: 'a TTL of a day', begin: (server) => server.addresses(name, pods(1), 86_400), ...calm },
  { what: 'SERVFAIL', begin: (server) => server.fail(name, 'SERVFAIL'), ...failing },
  { what: 'all is well again', begin: (server) => server.addresses(name, pods(2)), ...calm },
  { what: 'no such name', begin: (server) => server.fail(name, 'NXDOMAIN'), least: 650, most: 802 },
  {
    what: 'other pods each time',
    begin: () => {},
    each: (server, round) => server.addresses(name, pods(round % 200, 50)),
    ...calm,
  },
  {
    what: 'SERVFAIL every other time',
    begin: () => {},
    each: (server, round) => (round % 2 ? server.fail(name, 'SERVFAIL') : server.addresses(name, pods(3))),
    least: 150,
    most: 240,
  },
  {
    what: 'no such name every other time',
    begin: () => {},
    each: (server, round) => (round % 2 ? server.fail(name, 'NXDOMAIN') : server.addresses(name, pods(3))),
    least: 200,
    most: 240,
  },
  { what: 'silence', begin: (server) => server.fail(name, 'drop'), silent: true, least: 420, most: 650 },
  { what: 'a recovery', begin: (server) => server.addresses(name, pods(4)), ...calm },
];

it('a day of TTLs, flaps and outages stays within its query rate, its timers and its memory', async () => {
  const server = await DnsServer.start();
  const clock = new RoundClock();
  const watch = dns({ servers: [server.address], clock, random: seeded(11) }).watch(
    { protocol: 'http:', host: `${name}.`, port: 80 },
    { onEndpoints() {}, onError() {} },
  );
  const heap: number[] = [];
  server.addresses(name, pods(1));
  await until(() => server.asked.length === 2);
  await clock.ended(1);

  // Twice the same twelve hours: what the first half leaves behind is warm-up, the second must add nothing.
  for (const [i, { what, begin, each, silent, least, most }] of [...day, ...day].entries()) {
    const end = (i + 1) * hour;
    begin(server);
    server.asked.length = 0;
    let scheduled = clock.rounds;
    for (let round = 0; clock.now() + (clock.next ?? 0) < end; round++) {
      each?.(server, round);
      if (silent) {
        const before = server.count('A');
        const { rounds, next = 0 } = clock;
        await clock.advance(next);
        await until(() => server.count('A') > before);
        await clock.advance(2_000);
        await clock.ended(rounds + 1);
      } else {
        await clock.round();
      }
      expect(clock.pending).toBe(1);
    }
    scheduled = clock.rounds - scheduled;
    const asked = server.asked.filter(({ type, over }) => type === 'A' && over === 'udp').length;
    expect(asked, `questions in the hour of ${what}`).toBeGreaterThanOrEqual(least);
    expect(asked, `questions in the hour of ${what}`).toBeLessThanOrEqual(most);
    expect(scheduled, `timers in the hour of ${what}`).toBeLessThanOrEqual(asked + 1);
    server.asked.length = 0;
    gc();
    heap.push(process.memoryUsage().heapUsed);
  }

  await watch.close();
  await server.close();
  expect(clock.pending).toBe(0);
  const [noon = 0, midnight = 0] = [heap[day.length - 1], heap.at(-1)];
  expect(midnight - noon).toBeLessThan(512 * 1024);
}, 120_000);
