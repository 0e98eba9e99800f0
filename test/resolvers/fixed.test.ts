import { describe, expect, it } from 'vitest';
import type { EndpointEntry } from '../../src/resolvers/entries.ts';
import { fixed } from '../../src/resolvers/fixed.ts';
import { watching } from './support/watching.ts';

describe('fixed', () => {
  it.each([
    ['10.0.0.1:8080', '10.0.0.1:8080'],
    ['10.0.0.1', '10.0.0.1:80'],
    ['127.0.0.1:3000', '127.0.0.1:3000'],
    ['[fd00::1]:8080', '[fd00::1]:8080'],
    ['[fd00:0::1]', '[fd00::1]:80'],
    ['fd00::1', '[fd00::1]:80'],
    ['::ffff:10.0.0.1', '10.0.0.1:80'],
    ['[fe80::0:1%eth0]:8080', '[fe80::1%eth0]:8080'],
  ])('takes %s', async (text, id) => {
    expect(await watching(fixed([text]), { port: 80 }).set(1)).toEqual([id]);
  });

  it('keeps what an object says, and gives it the port and the id it lacks', async () => {
    const entry = { address: '10.0.0.1', weight: 2, zone: 'a', node: 'n', name: 'pod', port: undefined };
    const { set, endpoints, infos } = watching(fixed([entry, { id: 'x', address: '10.0.0.2', port: 1 }]));
    await set(1);
    expect(endpoints[0]).toEqual([
      { id: '10.0.0.1:8080', address: '10.0.0.1', port: 8080, weight: 2, zone: 'a', node: 'n', name: 'pod' },
      { id: 'x', address: '10.0.0.2', port: 1 },
    ]);
    expect(infos).toEqual([{ source: 'fixed' }]);
  });

  it('uses the port of the protocol where nobody has one', async () => {
    expect(
      await watching(fixed(['10.0.0.1']), { protocol: 'https:', port: undefined as never }).set(1),
    ).toEqual(['10.0.0.1:443']);
  });

  it('counts the same endpoint once', async () => {
    expect(await watching(fixed(['10.0.0.1:1', '10.0.0.1:1', '10.0.0.1:2'])).set(1)).toEqual([
      '10.0.0.1:1',
      '10.0.0.1:2',
    ]);
  });

  it('may be empty', async () => {
    expect(await watching(fixed([])).set(1)).toEqual([]);
  });

  it.each([
    ['10.0.0.1:0', RangeError, /port of fixed: endpoints\[1\] must be an integer between 1 and 65535, got 0/],
    ['10.0.0.1:70000', RangeError, /got 70000/],
    ['10.0.0.1:', RangeError, /port of fixed: endpoints\[1\]/],
    ['10.0.0.1:http', RangeError, /port of fixed: endpoints\[1\]/],
    ['orders.shop:80', TypeError, /endpoints\[1\] is "orders\.shop", which is not an IP address.*dns\(\)/],
    ['http://10.0.0.1', TypeError, /not an IP address/],
    ['10.0.0.256:80', TypeError, /not an IP address/],
    ['[10.0.0:80', TypeError, /not an IP address/],
    ['', TypeError, /not an IP address/],
    [7, TypeError, /fixed: endpoints\[1\] must be an object/],
    [null, TypeError, /fixed: endpoints\[1\] must be an object/],
    [{ address: 'localhost' }, TypeError, /endpoints\[1\]\.address is "localhost"/],
    [{ port: 80 }, TypeError, /endpoints\[1\]\.address/],
    [{ address: '10.0.0.1', port: 0 }, RangeError, /endpoints\[1\]\.port must be between 1 and 65535, got 0/],
    [{ address: '10.0.0.1', weight: -1 }, RangeError, /endpoints\[1\]\.weight/],
    [{ address: '10.0.0.1', host: 'x' }, TypeError, /unknown option fixed: endpoints\[1\]\.host/],
  ])('refuses %j at construction, naming it', (entry, kind, message) => {
    const make = (): unknown => fixed(['10.0.0.9:1', entry as string]);
    expect(make).toThrow(kind);
    expect(make).toThrow(message);
  });

  it('refuses what is no list', () => {
    expect(() => fixed('10.0.0.1:80' as unknown as EndpointEntry[])).toThrow(/endpoints must be an array/);
  });

  it('says when a watch begins that a port is only a name', () => {
    expect(() => watching(fixed(['10.0.0.1']), { port: 'http' })).toThrow(
      /10\.0\.0\.1 has no port and the port "http" of orders\.shop is a name/,
    );
  });
});
