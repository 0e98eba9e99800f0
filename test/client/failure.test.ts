import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  headerValue,
  isIdempotentMethod,
  isRequestError,
  retryAfter,
  withHeader,
} from '../../src/client/failure.ts';

describe('headerValue', () => {
  it.each<[string, unknown, string | undefined]>([
    ['an object', { 'Retry-After': '3' }, '3'],
    ['an object with lists', { 'retry-after': ['3', '4'] }, '3'],
    ['a flat array', ['a', 'b', 'RETRY-AFTER', '3'], '3'],
    ['an array of buffers', [Buffer.from('Retry-After'), Buffer.from('3')], '3'],
    ['a map', new Map([['Retry-After', '3']]), '3'],
    ['Headers', new Headers({ 'Retry-After': '3' }), '3'],
    ['pairs', new Set([['Retry-After', '3']]), '3'],
    ['a flat array that only has it as a value', ['a', 'retry-after'], undefined],
    ['an odd array', ['retry-after'], undefined],
    ['undefined as value', { 'retry-after': undefined }, undefined],
    ['nothing', undefined, undefined],
    ['null', null, undefined],
    ['a string', 'retry-after: 3', undefined],
  ])('finds a header in %s', (_, headers, expected) => {
    expect(headerValue(headers, 'retry-after')).toBe(expected);
  });

  it('does not take what every object inherits for a header', () => {
    expect(headerValue({}, 'constructor')).toBeUndefined();
  });
});

describe('withHeader', () => {
  it('adds to any shape without touching the original', () => {
    const array = ['a', 'b'];
    expect(withHeader(array, 'x', '1')).toEqual(['a', 'b', 'x', '1']);
    expect(array).toHaveLength(2);
    expect(withHeader(null, 'x', '1')).toEqual({ x: '1' });
    expect(withHeader({ X: '2' }, 'x', '1')).toEqual({ X: '2' });
  });
});

describe('retryAfter', () => {
  const { TZ } = process.env;
  beforeAll(() => {
    process.env['TZ'] = 'America/New_York';
  });
  afterAll(() => {
    if (TZ === undefined) delete process.env['TZ'];
    else process.env['TZ'] = TZ;
  });

  it.each<[string | undefined, number | undefined]>([
    [undefined, undefined],
    ['', undefined],
    ['0', 0],
    [' 2 ', 2_000],
    ['-2', undefined],
    ['2.5', undefined],
    ['0x10', undefined],
    ['Infinity', undefined],
    ['Tue, 14 Nov 2023 22:13:21 GMT', 1_000],
    ['Tuesday, 14-Nov-23 22:13:21 GMT', 1_000],
    ['Tue Nov 14 22:13:21 2023', 1_000],
    ['Mon, 13 Nov 2000 00:00:00 GMT', 0],
    ['Tue, 99 Nov 2023', undefined],
    ['x'.repeat(1e6), undefined],
  ])('reads %j', (value, expected) => {
    expect(retryAfter(value?.slice(0, 1e6), 1_700_000_000_000)).toBe(expected);
  });
});

describe('methods and errors', () => {
  it('knows the methods that may run twice, in any case', () => {
    expect(
      ['GET', 'get', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE', 'QUERY'].every(isIdempotentMethod),
    ).toBe(true);
    expect(['POST', 'PATCH', 'CONNECT', 'LINK', ''].some(isIdempotentMethod)).toBe(false);
  });

  it('knows errors that no other endpoint would mend', () => {
    expect(isRequestError(Object.assign(new Error(), { code: 'UND_ERR_INVALID_ARG' }))).toBe(true);
    expect(isRequestError(Object.assign(new Error(), { code: 'ECONNRESET' }))).toBe(false);
    expect(isRequestError(Object.assign(new Error(), { code: 7 }))).toBe(false);
  });
});
