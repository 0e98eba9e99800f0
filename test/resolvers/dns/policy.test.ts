import { BlockList } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalAddress } from '../../../src/resolvers/address.ts';
import { addressPolicy, isDiallable } from '../../../src/resolvers/dns/policy.ts';

/** The same rules, as the platform understands CIDR blocks. */
const refused = new BlockList();
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['224.0.0.0', 4],
  ['255.255.255.255', 32],
] as const)
  refused.addSubnet(net, bits, 'ipv4');
for (const [net, bits] of [
  ['::', 127],
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  refused.addSubnet(net, bits, 'ipv6');

describe('isDiallable', () => {
  it('refuses what the blocks of the registries say, of IPv4', () => {
    const octet = fc.oneof(
      fc.constantFrom(0, 10, 127, 169, 223, 224, 254, 255),
      fc.integer({ min: 0, max: 255 }),
    );
    fc.assert(
      fc.property(fc.tuple(octet, octet, octet, octet), (octets) => {
        const address = octets.join('.');
        expect(isDiallable(address, false)).toBe(!refused.check(address, 'ipv4'));
      }),
      { numRuns: 5_000 },
    );
  });

  it('refuses what the blocks of the registries say, of IPv6 and of IPv4 mapped into it', () => {
    const start = fc.constantFrom(
      'fe80',
      'febf',
      'fe7f',
      'fec0',
      'ff',
      'fe8',
      'ff02',
      'fd00',
      '2001',
      '::',
      '::1',
      '::ffff:127.0.0.1',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.ipV6(),
          start.map((text) => (text.startsWith('::') ? text : `${text}::5`)),
        ),
        (text) => {
          const address = canonicalAddress(text);
          expect(isDiallable(address, false)).toBe(
            !refused.check(address, address.includes(':') ? 'ipv6' : 'ipv4'),
          );
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it('takes 240.0.0.0/4, which pods of some clusters have', () => {
    expect(['240.0.0.1', '255.255.255.254'].every((address) => isDiallable(address, false))).toBe(true);
    expect(isDiallable('255.255.255.255', false)).toBe(false);
  });

  it('takes loopback where that is allowed, and nothing else with it', () => {
    expect(['127.0.0.1', '127.255.0.1', '::1'].every((address) => isDiallable(address, true))).toBe(true);
    expect(
      ['0.0.0.0', '169.254.169.254', '::', 'fe80::1'].some((address) => isDiallable(address, true)),
    ).toBe(false);
  });
});

describe('addressPolicy', () => {
  it('takes exactly what is in the blocks it is given', () => {
    const accepts = addressPolicy('dns', ['10.1.0.0/16', 'fd00::/8'], true);
    expect(['10.1.2.3', 'fd12::1'].every(accepts)).toBe(true);
    expect(['10.2.0.1', '127.0.0.1', '::1', '2001:db8::1'].some(accepts)).toBe(false);
  });
});
