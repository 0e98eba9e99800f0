import type { Cancel, Clock } from '../core/clock.ts';
import type { Service } from './service.ts';

/** ms without a call after which a stray is forgotten at the earliest; at the latest after twice as long. */
const patience = 60_000;

/**
 * Services without a single endpoint that nobody calls any more. Any word may be the name of a service, each is
 * watched from its first call on, and an app that follows other people's links meets any number of them.
 */
export class Strays {
  readonly #services: Map<string, Service>;
  readonly #clock: Clock;
  /** Listed by the app: there are so many and no more. */
  readonly #listed: (origin: string) => boolean;
  readonly #leaving = new Set<Promise<void>>();
  #cancel: Cancel | undefined;

  constructor(services: Map<string, Service>, clock: Clock, listed: (origin: string) => boolean) {
    this.#services = services;
    this.#clock = clock;
    this.#listed = listed;
  }

  /** Looks for them in a while: there is a new service. */
  expect(): void {
    this.#cancel ??= this.#clock.schedule(patience, () => this.#forget());
  }

  /** Resolves when those that were forgotten have left nothing behind. */
  async close(): Promise<void> {
    this.#cancel?.();
    await Promise.all(this.#leaving);
  }

  #forget(): void {
    this.#cancel = undefined;
    for (const [origin, service] of this.#services) {
      if (!service.hollow || this.#listed(origin)) continue;
      if (service.called) {
        service.called = false;
        this.expect();
        continue;
      }
      this.#services.delete(origin);
      const left: Promise<void> = service.close().finally(() => this.#leaving.delete(left));
      this.#leaving.add(left);
    }
  }
}
