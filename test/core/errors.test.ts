import { expect, it } from 'vitest';
import {
  ClosedError,
  DeadlineError,
  NoEndpointsError,
  OverloadError,
  ResolveError,
} from '../../src/core/errors.ts';

it.each([
  ['ResolveError', class extends ResolveError {}],
  ['NoEndpointsError', class extends NoEndpointsError {}],
  ['DeadlineError', class extends DeadlineError {}],
  ['OverloadError', class extends OverloadError {}],
  ['ClosedError', class extends ClosedError {}],
] as const)('%s is called so whatever a minifier makes of its class', (name, Minified) => {
  const error: Error = new Minified('no', 'orders.shop');
  expect(error.name).toBe(name);
  expect(String(error)).toBe(`${name}: no`);
});
