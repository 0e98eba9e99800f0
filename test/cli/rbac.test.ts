import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { manifests } from '../../src/cli/rbac.ts';

const example = readFileSync(join(import.meta.dirname, '../../examples/rbac.yaml'), 'utf8');

describe('steersman rbac', () => {
  test('prints what the example shows', () => {
    const yaml = example
      .split('\n')
      .filter((line) => !line.startsWith('#'))
      .join('\n');
    expect(manifests(['orders'], { namespace: 'shop', account: 'web' })).toBe(yaml);
  });

  test('makes one role per namespace, for one account', () => {
    const text = manifests(
      ['orders.shop', 'cart.shop.svc.cluster.local', 'http://mail:8080', 'orders.shop'],
      {
        namespace: 'web',
      },
    );
    expect(text.match(/^kind: Role$/gm)).toHaveLength(2);
    expect(text).toContain('resourceNames: [orders, cart]');
    expect(text).toContain('resourceNames: [mail]');
    expect(text.match(/ {4}name: default\n {4}namespace: web$/gm)).toHaveLength(2);
  });

  test('refuses what is no service', () => {
    expect(() => manifests([])).toThrow('at least one service is needed');
    expect(() => manifests(['a.b.c.d'])).toThrow('a.b.c.d is not the name of a Service');
  });
});
