import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { guardedWatch } from '../../src/core/guarded-watch.ts';
import type { Resolver, ResolverListener, Watch } from '../../src/core/resolver.ts';
import { fallback } from '../../src/resolvers/fallback.ts';
import { subset } from '../../src/resolvers/subset.ts';
import { endpoint } from '../../src/testing/values.ts';

const target = { protocol: 'http:', host: 'orders.shop', port: 8080 };
const one = [endpoint('10.0.0.1:80')];
const two = [endpoint('10.0.0.2:80')];
const quiet: Watch = { refresh() {}, close: async () => {} };

/** Notes what is reported, in words. */
function notes(): { listener: ResolverListener; heard: string[] } {
  const heard: string[] = [];
  const listener: ResolverListener = {
    onEndpoints: (endpoints) => heard.push(endpoints.map(({ id }) => id).join() || 'none'),
    onError: (error) => heard.push(error.message),
  };
  return { listener, heard };
}

const resolver = (watch: (listener: ResolverListener) => Watch): Resolver => ({
  watch: (_, listener) => watch(listener),
});

/** As a client, as `fallback` and as `subset` watch it. */
const watchers: Record<string, (resolver: Resolver, listener: ResolverListener) => Watch> = {
  itself: (resolver, listener) => guardedWatch(resolver, target, listener),
  'in a fallback': (resolver, listener) => fallback(resolver).watch(target, listener),
  'in a subset': (resolver, listener) => subset(resolver, { size: 5 }).watch(target, listener),
};

describe.each(Object.entries(watchers))('a resolver that breaks its contract, %s', (_, watch) => {
  it('and reports before watch returns is heard afterwards, in order', async () => {
    const { listener, heard } = notes();
    let later: ResolverListener | undefined;
    watch(
      resolver((listener) => {
        later = listener;
        listener.onEndpoints(one);
        listener.onError(new Error('odd'));
        return quiet;
      }),
      listener,
    );
    later?.onEndpoints(two);
    expect(heard).toEqual([]);
    await null;
    expect(heard).toEqual(['10.0.0.1:80', 'odd', '10.0.0.2:80']);
    later?.onEndpoints([]);
    expect(heard.at(-1)).toBe('none');
  });

  it('and reports what is no error is heard as one, and an error of another realm as it is', () => {
    const heard: Error[] = [];
    let inner: ResolverListener | undefined;
    watch(
      resolver((listener) => {
        inner = listener;
        return quiet;
      }),
      { onEndpoints: () => {}, onError: (error) => heard.push(error) },
    );
    const foreign = runInNewContext('new Error("foreign")');
    inner?.onError('odd' as never);
    inner?.onError(foreign);
    expect(heard.map(({ message }) => message)).toEqual(['odd', 'foreign']);
    expect(heard[1]).toBe(foreign);
  });

  it('and reports after it was closed is not heard', async () => {
    const { listener, heard } = notes();
    let late: ResolverListener | undefined;
    const watched = watch(
      resolver((listener) => {
        late = listener;
        listener.onEndpoints(one);
        return { refresh() {}, close: async () => listener.onEndpoints(two) };
      }),
      listener,
    );
    await watched.close();
    late?.onEndpoints(two);
    late?.onError(new Error('late'));
    await null;
    expect(heard).toEqual([]);
  });

  it('and reports nonsense is an error', async () => {
    const { listener, heard } = notes();
    watch(
      resolver((listener) => {
        for (const nonsense of [null, new Set(one), [{ address: '10.0.0.1', port: 80 }]])
          listener.onEndpoints(nonsense as unknown as Endpoint[]);
        listener.onError('no Error' as unknown as Error);
        return quiet;
      }),
      listener,
    );
    await null;
    expect(heard).toEqual([
      'the resolver of orders.shop:8080 reported no array of endpoints',
      'the resolver of orders.shop:8080 reported no array of endpoints',
      'the resolver of orders.shop:8080 reported an endpoint without an id',
      'no Error',
    ]);
  });

  it('and fails to refresh tells so, at once or later', async () => {
    const boom = (): never => {
      throw new Error('boom');
    };
    for (const refresh of [boom, async () => boom()]) {
      const { listener, heard } = notes();
      const watched = watch(
        resolver((listener) => {
          listener.onEndpoints(one);
          return { ...quiet, refresh };
        }),
        listener,
      );
      await null;
      watched.refresh();
      await null;
      await null;
      expect(heard).toEqual(['10.0.0.1:80', 'boom']);
    }
  });

  it('and has nothing to wait for when it is closed is closed', async () => {
    const { listener } = notes();
    const watched = watch(
      resolver(() => ({ refresh() {}, close: () => undefined as never })),
      listener,
    );
    await watched.close();
  });

  it('and returns no Watch is refused, and not heard', async () => {
    const { listener, heard } = notes();
    let late: ResolverListener | undefined;
    const makers = [
      () => undefined,
      async () => quiet,
      async () => Promise.reject(new Error('boom')),
      () => ({}),
    ];
    for (const nothing of makers) {
      const refused = resolver((listener) => {
        late = listener;
        listener.onEndpoints(one);
        return nothing() as never;
      });
      expect(() => watch(refused, listener)).toThrow('returned no Watch');
      await null;
      late?.onEndpoints(two);
    }
    expect(heard).toEqual([]);
  });
});
