import type { Cancel } from '../../../src/core/clock.ts';
import type { Endpoint } from '../../../src/core/endpoint.ts';
import { DiscoveryWarning } from '../../../src/core/errors.ts';
import type { Resolver, SetInfo, Watch } from '../../../src/core/resolver.ts';
import type { Target } from '../../../src/core/target.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';

/** Turns of the event loop until `holds`; fails after some seconds of real time, with `what` did not come. */
export async function until(
  holds: () => boolean,
  what: string | (() => string) = 'what was waited for',
): Promise<void> {
  const end = performance.now() + 8_000;
  while (!holds()) {
    if (performance.now() > end)
      throw new Error(`${typeof what === 'string' ? what : what()} did not happen`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Lets tests wait for what comes by itself, however long it takes, without turning the event loop. */
class News {
  #next = Promise.withResolvers<void>();

  tell(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }

  async until(holds: () => boolean, what: () => string): Promise<void> {
    let overdue = false;
    const timer = setTimeout(() => {
      overdue = true;
      this.tell();
    }, 12_000);
    while (!holds() && !overdue) await this.#next.promise;
    clearTimeout(timer);
    if (!holds()) throw new Error(`${what()} did not come`);
  }
}

/** Collects what would end the process, until it is restored. */
export function uncaught(): { readonly thrown: unknown[]; restore(): void } {
  const thrown: unknown[] = [];
  const before = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => thrown.push(error));
  return {
    thrown,
    restore() {
      process.removeAllListeners('uncaughtException');
      for (const listener of before) process.on('uncaughtException', listener);
    },
  };
}

/** A watch and all it has said. */
export interface Watching {
  readonly watch: Watch;
  /** Each set reported, as `address:port` in order. */
  readonly sets: (readonly string[])[];
  readonly endpoints: (readonly Endpoint[])[];
  readonly infos: (SetInfo | undefined)[];
  readonly errors: Error[];
  readonly warnings: DiscoveryWarning[];
  /** Waits for set number `n`, counted from 1. */
  set(n: number): Promise<readonly string[]>;
  /** Waits for error number `n`, counted from 1. */
  error(n: number): Promise<Error>;
}

export function watching(resolver: Resolver, target: Partial<Target> = {}): Watching {
  const sets: (readonly string[])[] = [];
  const endpoints: (readonly Endpoint[])[] = [];
  const infos: (SetInfo | undefined)[] = [];
  const errors: Error[] = [];
  const warnings: DiscoveryWarning[] = [];
  const news = new News();
  const watch = resolver.watch(
    { protocol: 'http:', host: 'orders.shop', port: 8080, ...target },
    {
      onEndpoints(set, info) {
        sets.push(set.map(({ id }) => id));
        endpoints.push(set);
        infos.push(info);
        news.tell();
      },
      onError(error) {
        if (error instanceof DiscoveryWarning) warnings.push(error);
        else errors.push(error);
        news.tell();
      },
    },
  );
  return {
    watch,
    sets,
    endpoints,
    infos,
    errors,
    warnings,
    async set(n) {
      await news.until(
        () => sets.length >= n,
        () => `set ${n} (errors: ${errors.map(String).join('; ') || 'none'})`,
      );
      return sets[n - 1] as readonly string[];
    },
    async error(n) {
      await news.until(
        () => errors.length >= n,
        () => `error ${n} (sets: ${JSON.stringify(sets)})`,
      );
      return errors[n - 1] as Error;
    },
  };
}

/** Timers of a round in flight: its deadline, the patience with each nameserver, and with AAAA. */
const withinRound = new Set([2_000, 400, 50]);

/** A fake clock that knows when a round of questions, which takes real time on loopback, has ended. */
export class RoundClock extends FakeClock {
  #inFlight = 0;
  readonly #news = new News();
  /** Rounds that have ended. */
  rounds = 0;

  override schedule(delay: number, callback: () => void): Cancel {
    if (!withinRound.has(delay)) {
      this.rounds++;
      const cancel = super.schedule(delay, callback);
      this.#news.tell();
      return cancel;
    }
    this.#inFlight++;
    let open = true;
    const end = (): void => {
      if (open) this.#inFlight--;
      open = false;
      this.#news.tell();
    };
    const cancel = super.schedule(delay, () => {
      end();
      callback();
    });
    return () => {
      end();
      cancel();
    };
  }

  /** Waits for the first `n` rounds to have ended. */
  async ended(n: number): Promise<void> {
    await this.#news.until(
      () => this.rounds >= n,
      () => `the end of round ${n}`,
    );
  }

  /** Waits for the round in flight to end, if there is one. */
  async idle(): Promise<void> {
    await this.#news.until(
      () => this.#inFlight === 0 && this.next !== undefined,
      () => 'the end of a round',
    );
  }

  /** Moves on to the next round, waits for it to end, and returns how many ms it was away. */
  async round(): Promise<number> {
    await this.idle();
    const { rounds, next = 0 } = this;
    await this.advance(next);
    await this.ended(rounds + 1);
    return next;
  }
}
