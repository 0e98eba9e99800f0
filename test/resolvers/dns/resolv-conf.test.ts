import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseResolvConf } from '../../../src/resolvers/dns/resolv-conf.ts';

describe('parseResolvConf', () => {
  it('reads what the kubelet writes', () => {
    const text =
      'search app.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n';
    expect(parseResolvConf(text)).toEqual({
      servers: ['10.96.0.10'],
      search: ['app.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
      ndots: 5,
    });
  });

  it.each([
    ['nothing', '', { servers: [], search: [], ndots: 1 }],
    [
      'comments',
      '#search a\n;search b\nnameserver 1.1.1.1 # c\n',
      { servers: ['1.1.1.1'], search: [], ndots: 1 },
    ],
    ['one domain only', 'domain a b\ndomain\n', { servers: [], search: ['a'], ndots: 1 }],
    ['no port after a hash', 'nameserver 1.1.1.1#5353\n', { servers: [], search: [], ndots: 1 }],
    [
      'each nameserver once',
      'nameserver 1.1.1.1\nnameserver 1.1.1.1\n',
      { servers: ['1.1.1.1'], search: [], ndots: 1 },
    ],
    ['the last of search and domain', 'search a b\ndomain c\n', { servers: [], search: ['c'], ndots: 1 }],
    [
      'tabs, capitals, trailing dots',
      '\tsearch\tA.Example.\n',
      { servers: [], search: ['a.example'], ndots: 1 },
    ],
    [
      'several options on a line',
      'options timeout:1 ndots:3 rotate\n',
      { servers: [], search: [], ndots: 3 },
    ],
    ['more dots than glibc takes', 'options ndots:99\n', { servers: [], search: [], ndots: 15 }],
    ['IPv6', 'nameserver fd00::a\n', { servers: ['fd00::a'], search: [], ndots: 1 }],
    [
      'carriage returns',
      'nameserver 1.1.1.1\r\nsearch a\r\n',
      { servers: ['1.1.1.1'], search: ['a'], ndots: 1 },
    ],
    [
      'no nonsense',
      'nameserver dns.example\nnameserver 1.1.1.1:0\nnameserver\nsearch a..b .\noptions ndots:x\n',
      { servers: [], search: [], ndots: 1 },
    ],
  ])('%s', (_, text, config) => {
    expect(parseResolvConf(text, 'web-0')).toEqual(config);
  });

  it.each([
    ['no line', '', ['dc1.example']],
    ['an empty one', 'search\n', ['dc1.example']],
    ['a lone dot', 'search .\n', []],
    ['another domain', 'search a.example\n', ['a.example']],
  ])('searches the domain of the host itself unless told otherwise: %s', (_, text, search) => {
    expect(parseResolvConf(text, 'Web.DC1.example').search).toEqual(search);
  });

  it('takes any text, and gives nothing that could be dangerous to c-ares', () => {
    const word = fc.oneof(
      fc.constantFrom(
        'nameserver',
        'search',
        'options',
        'ndots:5',
        '1.1.1.1',
        '1.1.1.1:0',
        '[::1]:99999',
        '\n',
      ),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(word), (words) => {
        const { servers, search, ndots } = parseResolvConf(words.join(' '));
        for (const server of servers) {
          const port = /^(?:[\d.]+|\[.*\]):(\d+)$/.exec(server)?.[1];
          expect(port === undefined || (Number(port) > 0 && Number(port) < 65_536)).toBe(true);
        }
        for (const domain of search) expect(domain).toMatch(/^[a-z0-9_.-]+$/);
        expect(ndots >= 0 && ndots <= 15).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});
