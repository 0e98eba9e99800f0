import type { Dispatcher } from 'undici';

/** As they are now: once `dispatch` has returned, the caller may use the same objects for the next call. */
export function kept<O extends Dispatcher.DispatchOptions>(options: O): O {
  const { headers } = options;
  if (typeof headers !== 'object' || headers === null) return { ...options };
  if (Array.isArray(headers)) return { ...options, headers: [...headers] };
  // A set, since undici takes an array for names and values in turn.
  return { ...options, headers: Symbol.iterator in headers ? new Set(headers as never) : { ...headers } };
}
