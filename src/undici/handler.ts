import type { Dispatcher } from 'undici';
import { Dispatcher1Wrapper, errors } from './index.ts';

const { wrapHandler: wrap } = Dispatcher1Wrapper as unknown as {
  wrapHandler(handler: unknown): Dispatcher.DispatchHandler;
};

/**
 * A handler in the form of today's undici, whichever generation it came in: the platform's fetch may be older.
 *
 * @throws {InvalidArgumentError} when it is no object.
 */
export function modernHandler(handler: unknown): Dispatcher.DispatchHandler {
  return wrap.call(Dispatcher1Wrapper, handler);
}

const always = ['onRequestStart', 'onResponseError'] as const;
const upgrading = [...always, 'onRequestUpgrade'] as const;
const answering = [...always, 'onResponseStart', 'onResponseData', 'onResponseEnd'] as const;

/**
 * What undici says of a call before it is sent: here, since to it the handler is one of ours.
 *
 * @throws {InvalidArgumentError} when the handler lacks a method, or the path is that of another origin.
 */
export function checkCall(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
  const { upgrade, method, path } = options;
  for (const name of upgrade || method === 'CONNECT' ? upgrading : answering)
    if (typeof handler[name] !== 'function') throw new errors.InvalidArgumentError(`invalid ${name} method`);
  // It would tell the server to be another one, as proxies are told.
  if (method !== 'CONNECT' && /^https?:/i.test(path))
    throw new errors.InvalidArgumentError('path must start with a slash: a service is called by its origin');
}
