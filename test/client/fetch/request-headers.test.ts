import { expect, it } from 'vitest';
import { RequestHeaders } from '../../../src/client/fetch/request-headers.ts';

it('takes a value of any length in one pass: what is within it may be white space for a megabyte', () => {
  const within = `a${' '.repeat(2 ** 20)}b`;
  expect(RequestHeaders.of({ x: `\t ${within} \n` })?.get('x')).toBe(within);
  expect(RequestHeaders.of({ x: ' '.repeat(2 ** 20) })?.get('x')).toBe('');
});
