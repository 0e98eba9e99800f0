import { types } from 'node:util';

/**
 * For what a user's function returned where a promise is of no use. That is told where it is found; should the promise
 * fail as well, it must not end the process.
 */
export function disown(value: unknown): void {
  if (types.isPromise(value)) value.catch(() => {});
}
