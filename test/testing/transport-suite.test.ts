import { describe, expect, it } from 'vitest';
import type { Transport } from '../../src/core/transport.ts';
import { resolverSuite } from '../../src/testing/resolver-suite.ts';
import { transportSuite } from '../../src/testing/transport-suite.ts';
import { Pool } from '../../src/undici/index.ts';

it('a transport that reaches nobody fails every test that makes a call, and holds up none', async () => {
  const nowhere: Transport = ({ origin }) =>
    new Pool(origin, { connect: (_, callback) => callback(new Error('nowhere'), null) });
  const tests = new Map<string, () => void | Promise<void>>();
  transportSuite(() => nowhere, {
    describe: (_, body) => body(),
    it: (name, body) => tests.set(name, body),
  });
  const passed: string[] = [];
  for (const [name, body] of tests) {
    try {
      await body();
      passed.push(name);
    } catch (error) {
      expect(error).toBeInstanceOf(Error);
    }
  }
  expect(tests.size).toBeGreaterThan(5);
  expect(passed).toEqual(['connects to nothing before the first call']);
}, 3_000);

it('what makes no transports, or no resolvers, is told at once', () => {
  expect(() => transportSuite({} as never, { describe, it })).toThrow(
    'option make of transportSuite must be a function, got an object',
  );
  expect(() => resolverSuite(undefined as never, { describe, it })).toThrow(
    'option make of resolverSuite must be a function, got undefined',
  );
});
