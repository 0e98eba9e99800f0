import type { Endpoint } from '../../../src/core/endpoint.ts';
import { ResolveError } from '../../../src/core/errors.ts';
import type { Resolver, ResolverListener, SetInfo, Watch } from '../../../src/core/resolver.ts';
import { parseTarget } from '../../../src/core/target.ts';

import type { WatchError } from '../../../src/resolvers/kubernetes.ts';
import type { FakeCluster } from '../../../src/testing/index.ts';

/** Listens to a watch and waits for what it tells. */
export class Listening implements ResolverListener {
  readonly sets: (readonly Endpoint[])[] = [];
  readonly infos: (SetInfo | undefined)[] = [];
  readonly errors: Error[] = [];
  readonly watch: Watch;
  readonly #waiting = new Set<() => void>();

  constructor(resolver: Resolver, target: string, port?: number | string) {
    this.watch = resolver.watch(parseTarget(target, port), this);
  }

  onEndpoints(endpoints: readonly Endpoint[], info?: SetInfo): void {
    this.sets.push(endpoints);
    this.infos.push(info);
    this.#look();
  }

  onError(error: Error): void {
    this.errors.push(error);
    this.#look();
  }

  /** Codes of the errors told, as the watch gave them. */
  get codes(): unknown[] {
    return this.errors.map((error) =>
      error instanceof ResolveError ? (error.cause as WatchError).code : (error as WatchError).code,
    );
  }

  get last(): readonly Endpoint[] | undefined {
    return this.sets.at(-1);
  }

  get addresses(): string[] | undefined {
    return this.last?.map(({ address, port }) => `${address}:${port}`).sort();
  }

  /** Resolves as soon as the condition holds; it is looked at after each report. */
  until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!holds()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  #look(): void {
    for (const look of [...this.#waiting]) look();
  }
}

/** Watches `orders` until that is forbidden, closes the watch in hearing of it, and resolves when it is closed. */
export function closedWhenRefused(resolver: Resolver, cluster: FakeCluster): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const watch = resolver.watch(parseTarget('http://orders:8080'), {
    onEndpoints() {
      cluster.api.rules = [];
      cluster.api.disconnect('end');
    },
    onError() {
      resolve(watch.close());
    },
  });
  return promise;
}
