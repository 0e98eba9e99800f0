import { disown } from './disown.ts';
import { isError } from './errors.ts';
import { setProblem } from './reported-set.ts';
import type { Resolver, ResolverListener, Watch } from './resolver.ts';
import { type Target, targetName } from './target.ts';

/**
 * A watch by anybody's resolver that keeps to the contract even where the resolver does not: nothing is reported
 * before this returns, nor after `close` is called, and no nonsense; `refresh` never throws, and `close` tells by its
 * promise what went wrong.
 *
 * @throws what `watch` throws, and a `TypeError` when it returns no Watch.
 */
export function guardedWatch(resolver: Resolver, target: Target, listener: ResolverListener): Watch {
  let closed = false;
  /** What came too early, and what has come since, until it is told. */
  let early: (() => void)[] | undefined = [];
  const report = (tell: () => void): void => {
    if (early !== undefined) early.push(tell);
    else if (!closed) tell();
  };
  const onError = (reported: unknown): void =>
    report(() => listener.onError(isError(reported) ? reported : new Error(String(reported))));

  const watch = resolver.watch(target, {
    onEndpoints: (endpoints, info) => {
      const problem = setProblem(endpoints);
      if (problem === undefined) report(() => listener.onEndpoints(endpoints, info));
      else onError(new TypeError(`the resolver of ${targetName(target)} reported ${problem}`));
    },
    onError,
  });
  if (typeof watch?.close !== 'function') {
    closed = true;
    early = undefined;
    disown(watch);
    throw new TypeError('resolver.watch() returned no Watch');
  }
  const told = early;
  if (told.length === 0) early = undefined;
  else {
    queueMicrotask(() => {
      for (const tell of told) if (!closed) tell();
      early = undefined;
    });
  }
  return {
    refresh: () => void settled(() => watch.refresh()).catch(onError),
    close: () => {
      closed = true;
      return settled(() => watch.close());
    },
  };
}

/** Runs the work at once; what it throws, or rejects with, the promise tells. */
async function settled(work: () => unknown): Promise<void> {
  await work();
}
