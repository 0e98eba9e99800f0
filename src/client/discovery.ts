import { type Clock, holdProcess } from '../core/clock.ts';
import type { Endpoint } from '../core/endpoint.ts';
import { ClosedError, isDiscoveryWarning, isError, isResolveError, ResolveError } from '../core/errors.ts';
import { guardedWatch } from '../core/guarded-watch.ts';
import type { Resolver, SetInfo, Watch } from '../core/resolver.ts';
import { type Target, targetName } from '../core/target.ts';
import type { Events } from './events.ts';
import type { Difference } from './fleet.ts';
import type { Settings } from './settings.ts';

/** ms that a watch may take to close: it is somebody else's code. */
const closePatience = 5_000;

/** Waits for the first set. */
export interface Waiter {
  resolved(): void;
  fail(error: Error): void;
}

export interface DiscoveryContext {
  readonly target: Target;
  readonly clock: Clock;
  readonly events: Events;
  resolver(): Resolver;
  settings(): Settings;
  /** Takes a full set over. */
  apply(endpoints: readonly Endpoint[]): Difference;
}

/** How long after a resolver has refused to start it is asked again, in ms. */
const restartDelay = 1_000;

/** The running watch of a service: who waits for its first set, how fresh the last one is, and what went wrong since. */
export class Discovery {
  readonly #context: DiscoveryContext;
  readonly #waiters = new Set<Waiter>();
  #watch: Watch | undefined;
  /** When the resolver last refused to start. */
  #refused = Number.NEGATIVE_INFINITY;
  #resolved = false;
  #info: SetInfo | undefined;
  #lastError: Error | undefined;
  #staleSince: number | undefined;
  #closed = false;

  constructor(context: DiscoveryContext) {
    this.#context = context;
  }

  /** Whether there is a set. */
  get resolved(): boolean {
    return this.#resolved;
  }

  get info(): SetInfo | undefined {
    return this.#info;
  }

  /** The last thing that went wrong with the source; undefined while it is well. */
  get lastError(): Error | undefined {
    return this.#lastError;
  }

  /** ms since the set was last known to be current; undefined while it is. */
  get staleFor(): number | undefined {
    return this.#staleSince === undefined ? undefined : this.#context.clock.now() - this.#staleSince;
  }

  /** How many wait for the first set. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** Starts the watch, unless it runs. */
  start(): void {
    const { target, clock } = this.#context;
    if (this.#watch !== undefined || this.#closed || clock.now() - this.#refused < restartDelay) return;
    try {
      this.#watch = guardedWatch(this.#context.resolver(), target, {
        onEndpoints: (endpoints, info) => this.#onEndpoints(endpoints, info),
        onError: (error) => this.#onError(error),
      });
    } catch (cause) {
      this.#refused = clock.now();
      const why = isError(cause) ? cause.message : String(cause);
      const error = new ResolveError(`cannot resolve ${targetName(target)}: ${why}`, target, { cause });
      // Not at once: whoever makes a client has had no time to listen.
      queueMicrotask(() => {
        if (!this.#closed && this.#watch === undefined) this.#onError(error);
      });
    }
  }

  /** Watches anew, with another resolver; the set is kept until that reports. */
  restart(): void {
    const hasStarted = this.#watch !== undefined || this.#refused > Number.NEGATIVE_INFINITY;
    if (!hasStarted) return;
    this.#refused = Number.NEGATIVE_INFINITY;
    void this.#stop();
    this.start();
  }

  /** A hint that the set may be out of date. */
  refresh(): void {
    this.#watch?.refresh();
  }

  /** Tells the waiter of the first set, or of what keeps it away; the returned function takes it back. */
  wait(waiter: Waiter): () => void {
    // Asked for again by each newcomer, and told at once: it will not get better by waiting.
    if (isResolveError(this.#lastError) && !this.#resolved) {
      const error = this.#lastError;
      queueMicrotask(() => {
        if (this.#waiters.delete(waiter)) waiter.fail(error);
      });
    }
    this.#waiters.add(waiter);
    return () => {
      this.#waiters.delete(waiter);
    };
  }

  /** Resolves when the first set is there; rejects after the resolve timeout, or with the signal's reason. */
  async ready(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#closed) throw this.closedError();
    this.start();
    if (this.#resolved) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const leave = this.wait({ resolved: resolve, fail: reject });
    const { resolve: timeout } = this.#context.settings();
    const cancel =
      timeout === Number.POSITIVE_INFINITY
        ? undefined
        : this.#context.clock.schedule(timeout, () => reject(this.unresolved()));
    const onAbort = (): void => reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const release = holdProcess();
    try {
      await promise;
    } finally {
      leave();
      cancel?.();
      release();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** The error of a call that has waited for the first set in vain. */
  unresolved(): ResolveError {
    const { target } = this.#context;
    const cause = this.#lastError;
    if (isResolveError(cause)) return cause;
    const why = cause === undefined ? 'the resolver has reported nothing' : cause.message;
    const within = `${this.#context.settings().resolve} ms`;
    return new ResolveError(`cannot resolve ${targetName(target)} in ${within}: ${why}`, target, { cause });
  }

  /** Why an empty set is empty. */
  whyEmpty(): string {
    const source = this.#info?.source ?? 'the resolver';
    if (this.#staleSince !== undefined) return `${source} failed since: ${this.#lastError?.message}`;
    return this.#info?.note ?? `${source} says it has none`;
  }

  closedError(): ClosedError {
    const { target } = this.#context;
    return new ClosedError(`the client of ${targetName(target)} is closed`, target);
  }

  /** Fails those who wait, and stops the watch. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#tell((waiter) => waiter.fail(this.closedError()));
    await this.#stop();
  }

  async #stop(): Promise<void> {
    const watch = this.#watch;
    this.#watch = undefined;
    if (watch === undefined) return;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const cancel = this.#context.clock.schedule(closePatience, () =>
      reject(new Error(`it took more than ${closePatience} ms`)),
    );
    try {
      await Promise.race([watch.close(), late]);
    } catch (cause) {
      const target = targetName(this.#context.target);
      const error = new Error(`the watch of ${target} failed to close`, { cause });
      this.#context.events.emit('error', { target, error });
    } finally {
      cancel();
    }
  }

  #onEndpoints(endpoints: readonly Endpoint[], info: SetInfo | undefined): void {
    const target = targetName(this.#context.target);
    this.#info = info ?? { source: 'custom' };
    this.#lastError = undefined;
    this.#staleSince = undefined;
    const first = !this.#resolved;
    this.#resolved = true;
    const { changed, ...set } = this.#context.apply(endpoints);
    if (first || changed) {
      const { source } = this.#info;
      this.#context.events.emit('endpoints', { target, ...set, source });
    }
    if (first) this.#tell((waiter) => waiter.resolved());
  }

  #onError(error: Error): void {
    const { events, clock } = this.#context;
    const target = targetName(this.#context.target);
    if (isDiscoveryWarning(error)) {
      events.emit('warning', { target, warning: error });
      return;
    }
    this.#lastError = error;
    events.emit('error', { target, error });
    if (this.#resolved) {
      this.#staleSince ??= clock.now();
      events.emit('stale', { target, age: clock.now() - this.#staleSince, error });
    } else if (isResolveError(error)) {
      this.#tell((waiter) => waiter.fail(error));
    }
  }

  #tell(say: (waiter: Waiter) => void): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) say(waiter);
  }
}
