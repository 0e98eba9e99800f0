import type { Dispatcher, Pool } from 'undici';
import { ClosableDispatcher } from './closable-dispatcher.ts';

/**
 * A Pool that offers HTTP/2, and beside it one for what is to be upgraded, such as a WebSocket: few servers can do that
 * within HTTP/2 (RFC 8441), and few clients, the platform's not among them, understand the answer.
 */
export class UpgradingPool extends ClosableDispatcher {
  readonly #calls: Pool;
  readonly #makeUpgrades: () => Pool;
  /** Made when first needed. */
  #upgrades: Pool | undefined;

  constructor(calls: Pool, makeUpgrades: () => Pool) {
    super();
    this.#calls = calls;
    this.#makeUpgrades = makeUpgrades;
    this.tellOf(calls);
  }

  protected override send(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    // undici's WebSocket says so when a server has told it that it cannot.
    const { upgrade, allowH2 } = options as Dispatcher.DispatchOptions & { readonly allowH2?: boolean };
    const plain = upgrade || allowH2 === false;
    // Once closed, a new one would be left behind; the old one refuses.
    const pool = plain && !this.closed ? this.#ofUpgrades() : this.#calls;
    return pool.dispatch(options, handler);
  }

  protected override async finish(): Promise<void> {
    // One that is destroyed refuses to be closed, and is waited for all the same.
    const ended = (pool: Pool | undefined): Promise<void> | undefined =>
      pool?.close().catch(() => pool.destroy());
    await Promise.all([ended(this.#calls), ended(this.#upgrades)]);
  }

  protected override cut(error: Error): void {
    void this.#calls.destroy(error);
    void this.#upgrades?.destroy(error);
  }

  #ofUpgrades(): Pool {
    if (this.#upgrades === undefined) {
      this.#upgrades = this.#makeUpgrades();
      this.tellOf(this.#upgrades);
    }
    return this.#upgrades;
  }
}
