import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dns } from '../../src/resolvers/dns.ts';
import { dnsSrv } from '../../src/resolvers/dns-srv.ts';
import { RealServer, type ServerName, ttl, type Zone } from './support/real-server.ts';
import { type Watching, watching } from './support/watching.ts';

/** Set by `npm run test:dns`, which installs them where it can. */
const installed = (process.env['STEERSMAN_DNS_SERVERS'] ?? '').split(',').filter(Boolean) as ServerName[];

const sizes = [1, 28, 30, 100, 1_000];
const many = (size: number): string[] =>
  Array.from({ length: size }, (_, i) => `10.${size % 256}.${i >> 8}.${i & 255}`);

const zone: Zone = {
  hosts: {
    ...Object.fromEntries(sizes.map((size) => [`many-${size}`, many(size)])),
    dual: ['10.0.0.1', '10.0.0.2', 'fd00::1', 'fd00::2'],
    six: ['fd00::6'],
    a: ['10.0.0.10'],
    b: ['10.0.0.11', 'fd00::11'],
    changing: ['10.0.0.20', '10.0.0.21'],
    going: ['10.0.0.30'],
  },
  aliases: { alias: 'dual' },
  services: {
    '_http._tcp.web': [
      { target: 'a', port: 8001, priority: 0, weight: 10 },
      { target: 'b', port: 8002, priority: 0, weight: 30 },
      { target: 'dual', port: 8003, priority: 5, weight: 1 },
    ],
  },
};

describe.skipIf(installed.length === 0)('real nameservers (npm run test:dns)', () => {
  describe.each(installed)('%s', (name) => {
    let server: RealServer;
    const open: Watching[] = [];

    beforeAll(async () => {
      server = await RealServer.start(name, zone);
    });

    afterAll(async () => {
      await Promise.all(open.map(({ watch }) => watch.close()));
      await server?.close();
    });

    const watch = (host: string, make: typeof dns | typeof dnsSrv = dns): Watching => {
      const one = watching(make({ servers: [server.address], search: ['shop.test'], ndots: 1 }), {
        host,
        port: 80,
      });
      open.push(one);
      return one;
    };

    it.each(sizes)('%d A records come complete', async (size) => {
      const set = await watch(`many-${size}`).set(1);
      expect([...set].sort()).toEqual(
        many(size)
          .map((address) => `${address}:80`)
          .sort(),
      );
    });

    it('both families, one family, and an alias', async () => {
      const dual = ['10.0.0.1:80', '10.0.0.2:80', '[fd00::1]:80', '[fd00::2]:80'];
      expect(await watch('dual').set(1)).toEqual(dual);
      expect(await watch('six').set(1)).toEqual(['[fd00::6]:80']);
      expect(await watch('alias.shop.test.').set(1)).toEqual(dual);
    });

    it('SRV records with their weights, ports and priorities', async () => {
      const { set, endpoints } = watch('web', dnsSrv);
      await set(1);
      expect(endpoints[0]).toEqual([
        { id: '10.0.0.10:8001', address: '10.0.0.10', port: 8001, weight: 10 },
        { id: '10.0.0.11:8002', address: '10.0.0.11', port: 8002, weight: 15 },
        { id: '[fd00::11]:8002', address: 'fd00::11', port: 8002, weight: 15 },
      ]);
    });

    it('a name that does not exist', async () => {
      const { message, cause } = await watch('nowhere.shop.test.').error(1);
      expect(message).toContain('does not exist');
      expect((cause as NodeJS.ErrnoException).code).toBe('ENOTFOUND');
    });

    it('a change of the zone is picked up within the TTL', async () => {
      const { set } = watch('changing.shop.test.');
      await set(1);
      const start = performance.now();
      server.change({ ...zone, hosts: { ...zone.hosts, changing: ['10.0.0.21', '10.0.0.22'], going: [] } });
      expect(await set(2)).toEqual(['10.0.0.21:80', '10.0.0.22:80']);
      // The TTL and a tenth, then what the server needs to read its zone: BIND takes up to a second.
      expect(performance.now() - start).toBeLessThan(ttl * 1.1 + 2_000);
    });

    it('a name that goes becomes an empty set, and a set again when it comes back', async () => {
      const { set } = watch('dual.shop.test.');
      await set(1);
      server.change({ ...zone, aliases: {}, hosts: { ...zone.hosts, dual: [] } });
      expect(await set(2)).toEqual([]);
      server.change(zone);
      // "Nothing there" is asked again every 5 s.
      expect((await set(3)).length).toBe(4);
    });

    it('a restart of the server leaves the set as it was', async () => {
      const { set, sets, error } = watch('a.shop.test.');
      await set(1);
      await server.stop();
      await error(1);
      await server.start();
      expect(await set(2)).toEqual(['10.0.0.10:80']);
      expect(sets).toHaveLength(2);
    });
  });
});
