import { type Attempt, ClosedError, isDiscoveryError, isError, OverloadError } from '../core/errors.ts';
import { isRequestError, isShortage } from './failure.ts';

/**
 * Whether the end of a call says how the service fares: not when the call itself was wrong, or came too late, or we
 * had no means to make it.
 */
export function saysOfService(error: unknown): boolean {
  return (
    isError(error) &&
    !isRequestError(error) &&
    !isShortage(error) &&
    !(error instanceof ClosedError) &&
    !(error instanceof OverloadError)
  );
}

/**
 * The error with what was tried. An error may belong to several calls, when a connection they all waited for
 * failed: each gets its own.
 */
export function withAttempts(error: Error, attempts: readonly Attempt[]): Error {
  if (isDiscoveryError(error) && error.attempts.length > 0) return error;
  let own = error;
  const shared = Object.hasOwn(error, 'attempts') && !isDiscoveryError(error);
  if (shared || !Object.isExtensible(error)) {
    own = new Error(error.message);
    Object.setPrototypeOf(own, Object.getPrototypeOf(error));
    Object.defineProperties(own, Object.getOwnPropertyDescriptors(error));
  }
  Object.defineProperty(own, 'attempts', {
    value: attempts,
    enumerable: true,
    configurable: true,
    writable: true,
  });
  return own;
}
