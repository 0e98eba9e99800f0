import { expect, test } from 'vitest';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { FakeTransport } from '../../src/testing/fake-transport.ts';
import { backend, endpoint } from '../../src/testing/values.ts';

test.each([
  ['10.0.0.1:8080', { id: '10.0.0.1:8080', address: '10.0.0.1', port: 8080 }],
  ['10.0.0.1', { id: '10.0.0.1:80', address: '10.0.0.1', port: 80 }],
  ['10.0.0.1:0', { id: '10.0.0.1:0', address: '10.0.0.1', port: 0 }],
  ['[::1]:80', { id: '[::1]:80', address: '::1', port: 80 }],
  ['[fd00::1]', { id: '[fd00::1]:80', address: 'fd00::1', port: 80 }],
  ['pod-1.orders', { id: 'pod-1.orders:80', address: 'pod-1.orders', port: 80 }],
  [
    { address: '::1', id: 'uid', zone: 'a' },
    { id: 'uid', address: '::1', port: 80, zone: 'a' },
  ],
])('an endpoint from %j', (from, expected) => {
  expect(endpoint(from)).toEqual(expected);
});

test.each(['', '::1', 'a b', 'http://10.0.0.1:80', '10.0.0.1:80/path', '10.0.0.1:http', ':80'])(
  '%j is no endpoint',
  (from) => {
    expect(() => endpoint(from)).toThrow(`endpoint: "${from}" is no address such as '10.0.0.1:8080'`);
    expect(() => backend(from)).toThrow(TypeError);
  },
);

test('what is wrong with an endpoint, a step of the clock, a set or a server is told at once', async () => {
  expect(() => endpoint('10.0.0.1:99999')).toThrow(
    'option endpoint.port must be between 0 and 65535, got 99999',
  );
  expect(() => endpoint({ address: 'x', port: 'http' as never })).toThrow('must be a number, got "http"');
  expect(() => endpoint({} as never)).toThrow('option endpoint.address must be a non-empty string');
  expect(() => endpoint(undefined as never)).toThrow('option endpoint must be an object, got undefined');
  for (const ms of [-1, Number.NaN, Number.POSITIVE_INFINITY, '5' as never])
    await expect(new FakeClock().advance(ms)).rejects.toThrow('option ms of FakeClock.advance must be');
  expect(() => new FakeResolver('10.0.0.1:80' as never)).toThrow(
    'endpoints of FakeResolver must be an array',
  );
  expect(() => new FakeResolver().set([5 as never])).toThrow(
    'endpoints of FakeResolver[0] must be an object',
  );
  expect(() => new FakeTransport({ body: 'x' } as never)).toThrow(
    'serve of FakeTransport must be a function',
  );
  expect(() => new FakeTransport().respond(null as never)).toThrow('must be a function, got null');
});
