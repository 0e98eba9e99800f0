import type { Dispatcher } from 'undici';
import { Dispatcher1Wrapper } from './index.ts';

const { wrapHandler: wrap } = Dispatcher1Wrapper as unknown as {
  wrapHandler(handler: unknown): Dispatcher.DispatchHandler;
};

/** A handler in the form of today's undici, whichever generation it came in: the platform's fetch may be older. */
export function modernHandler(handler: unknown): Dispatcher.DispatchHandler {
  return wrap.call(Dispatcher1Wrapper, handler);
}
