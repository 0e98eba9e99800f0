import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { saysOfService, withAttempts } from '../../src/client/told-error.ts';
import { ClosedError, DeadlineError, NoEndpointsError, OverloadError } from '../../src/core/errors.ts';
import { errno } from '../support/script.ts';

const attempt = {
  endpoint: '10.0.0.1:80',
  phase: 'sent',
  class: 'ambiguous',
  code: 'ECONNRESET',
  ms: 1,
} as const;

describe('withAttempts', () => {
  it('keeps an error that belongs to one call, and copies one that several share', () => {
    const error = errno('ECONNREFUSED');
    const first = withAttempts(error, [attempt]);
    const second = withAttempts(error, []);
    expect(first).toBe(error);
    expect(second).not.toBe(error);
    expect(second).toMatchObject({ code: 'ECONNREFUSED', message: 'ECONNREFUSED', attempts: [] });
    expect(first).toMatchObject({ attempts: [attempt] });
  });

  it('copies what is frozen, and keeps its class', () => {
    const error = Object.freeze(new RangeError('x'));
    expect(withAttempts(error, [attempt])).toBeInstanceOf(RangeError);
    expect(withAttempts(error, [attempt])).toMatchObject({ attempts: [attempt] });
  });

  it('keeps the class of another realm, as a test runner makes one', () => {
    const error = Object.freeze(runInNewContext('new RangeError("x")'));
    const told = withAttempts(error, [attempt]);
    expect(told).toMatchObject({ message: 'x', attempts: [attempt] });
    expect(Object.getPrototypeOf(told)).toBe(Object.getPrototypeOf(error));
  });

  it('adds to an error of ours that knows of none, and keeps what one knows', () => {
    expect(withAttempts(new NoEndpointsError('x', 'orders'), [attempt])).toMatchObject({
      attempts: [attempt],
    });
    const known = new DeadlineError('x', 'orders', { attempts: [attempt, attempt] });
    expect(withAttempts(known, [attempt])).toMatchObject({ attempts: [attempt, attempt] });
  });
});

describe('saysOfService', () => {
  it('is so of what the network and the deadline bring, and not of what the caller did', () => {
    expect(
      [errno('ECONNRESET'), new DeadlineError('x', 'y'), new NoEndpointsError('x', 'y')].every(saysOfService),
    ).toBe(true);
    expect(saysOfService(runInNewContext('new Error("ECONNRESET")'))).toBe(true);
    const own = [
      new ClosedError('x', 'y'),
      new OverloadError('x', 'y'),
      errno('UND_ERR_INVALID_ARG'),
      errno('EMFILE'),
      'no error',
    ];
    expect(own.some(saysOfService)).toBe(false);
  });
});
