/** The part of a test runner that the suites need: node:test, vitest, jest and mocha all have it. */
export interface SuiteRunner {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: () => void | Promise<void>): unknown;
}

/** The runner whose `describe` and `it` are global; else node:test, unless vitest runs, which keeps its own to itself. */
export function suiteRunner(): SuiteRunner {
  const { describe, it } = globalThis as Partial<SuiteRunner>;
  if (typeof describe === 'function' && typeof it === 'function') return { describe, it };
  if (process.env['VITEST'] === undefined) return process.getBuiltinModule('node:test');
  throw new TypeError(
    'no global describe and it: pass them as the last argument, e.g. { describe, it } from vitest',
  );
}
