import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { srvEndpoints, usableRecords } from '../../src/resolvers/dns/srv.ts';
import { dns } from '../../src/resolvers/dns.ts';
import { dnsSrv } from '../../src/resolvers/dns-srv.ts';
import { DnsServer, type Reply } from './support/dns-server.ts';
import { RoundClock, watching } from './support/watching.ts';

type Told = readonly string[] | 'none' | 'NXDOMAIN' | 'SERVFAIL' | 'garbage';

const told = (...addresses: readonly string[]): fc.Arbitrary<Told> =>
  fc.oneof(
    { weight: 2, arbitrary: fc.uniqueArray(fc.constantFrom(...addresses), { minLength: 1 }) },
    fc.constantFrom('none', 'NXDOMAIN', 'SERVFAIL', 'garbage'),
  );

function replyOf(name: string, type: 'A' | 'AAAA', what: Told): Reply {
  return typeof what === 'string' ? what : what.map((data) => ({ name, type, ttl: 5, data }));
}

const isKnown = (what: Told): boolean => what !== 'SERVFAIL' && what !== 'garbage';

/** What a host's set is after each round, put as plainly as it goes. */
class Model {
  /** What each family last had. */
  #four: readonly string[] = [];
  #six: readonly string[] = [];
  #hadAddresses = false;
  #doubted = false;
  set: readonly string[] | undefined;

  round(four: Told, six: Told): void {
    const second: Told = four === 'NXDOMAIN' && !isKnown(six) ? 'NXDOMAIN' : six;
    const wasDoubted = this.#doubted;
    this.#doubted = false;
    if (!isKnown(four) && !isKnown(second)) return;
    if (isKnown(four)) this.#four = typeof four === 'string' ? [] : four;
    if (isKnown(second)) this.#six = typeof second === 'string' ? [] : second;
    const all = [...this.#four, ...this.#six];
    if (all.length > 0) {
      this.#hadAddresses = true;
      this.set = all;
      return;
    }
    if (!(isKnown(four) && isKnown(second)) && !this.#hadAddresses) return;
    const isGone = this.set === undefined ? four === 'none' || second === 'none' : true;
    if (this.set !== undefined && this.set.length > 0 && !wasDoubted) this.#doubted = true;
    else if (isGone) this.set = [];
  }
}

describe('dns, whatever the nameserver says', () => {
  it('has the set of the model after each round', async () => {
    const step = fc.record({
      four: told('192.0.2.1', '192.0.2.2'),
      six: told('2001:db8::1', '2001:db8::2'),
      rounds: fc.integer({ min: 1, max: 3 }),
      hint: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
        const name = 'orders.example';
        const server = await DnsServer.start();
        const clock = new RoundClock();
        const model = new Model();
        const options = {
          servers: [server.address],
          search: [],
          maxStale: Number.POSITIVE_INFINITY,
          clock,
          random: () => 0.3,
        };
        let one: ReturnType<typeof watching> | undefined;
        for (const { four, six, rounds, hint } of steps) {
          server.on(name, 'A', replyOf(name, 'A', four));
          server.on(name, 'AAAA', replyOf(name, 'AAAA', six));
          for (let i = 0; i < rounds; i++) {
            if (one === undefined) {
              one = watching(dns(options), { host: `${name}.`, port: 80 });
              await clock.ended(1);
            } else {
              await clock.idle();
              if (hint) one.watch.refresh();
              await clock.round();
            }
            model.round(four, six);
            const set = one.endpoints.at(-1)?.map(({ address }) => address);
            expect(set).toEqual(model.set?.toSorted());
          }
        }
        await one?.watch.close();
        await server.close();
      }),
      { numRuns: 150 },
    );
  });
});

describe('dnsSrv, whatever the nameserver has said', () => {
  it('comes to the endpoints of the records', async () => {
    const targets = ['a.example', 'b.example', 'c.example'];
    const record = fc.record({
      target: fc.constantFrom(...targets, '.'),
      port: fc.constantFrom(0, 80, 81),
      priority: fc.nat(2),
      weight: fc.nat(3),
    });
    const state = fc.record({
      records: fc.array(record, { maxLength: 4 }),
      addresses: fc.tuple(...targets.map((_, i) => told(`192.0.2.${i}`, `192.0.2.${100 + i}`))),
      isWell: fc.boolean(),
      rounds: fc.nat(3),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(state, { minLength: 1, maxLength: 4 }), async (states) => {
        const server = await DnsServer.start();
        const clock = new RoundClock();
        const options = { servers: [server.address], search: [], clock, random: () => 0.3 };
        const last = states.at(-1);
        let one: ReturnType<typeof watching> | undefined;
        let addressesOf = new Map<string, readonly string[]>();
        for (const { records, addresses, isWell, rounds } of states) {
          const heals = records === last?.records;
          if (!isWell && !heals) server.on('_http._tcp.orders.example', 'SRV', 'SERVFAIL');
          else if (records.length === 0) server.on('_http._tcp.orders.example', 'SRV', 'none');
          else server.srv('_http._tcp.orders.example', records);
          addressesOf = new Map();
          for (const [i, target] of targets.entries()) {
            const what = addresses[i] as Told;
            const said = heals && !isKnown(what) ? 'none' : what;
            server.on(target, 'A', replyOf(target, 'A', said));
            addressesOf.set(target, typeof said === 'string' ? [] : said);
          }
          one ??= watching(dnsSrv({ ...options, family: 4 }), { host: 'orders.example.', port: 'http' });
          await clock.ended(1);
          for (let i = 0; i < (heals ? 12 : rounds); i++) await clock.round();
        }
        const records = (last?.records ?? []).map(({ target, ...rest }) => ({ ...rest, name: target }));
        expect(one?.endpoints.at(-1)).toEqual(srvEndpoints(usableRecords(records), addressesOf));
        await one?.watch.close();
        await server.close();
      }),
      { numRuns: 150 },
    );
  });
});
