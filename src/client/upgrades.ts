import type { Duplex } from 'node:stream';
import type { Clock } from '../core/clock.ts';

/** Connections that calls have become, such as a WebSocket: undici lets go of them, and so they outlive its pools. */
export class Upgrades {
  readonly #sockets = new Set<Duplex>();
  #onEmpty: (() => void) | undefined;

  get size(): number {
    return this.#sockets.size;
  }

  add(socket: Duplex): void {
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      if (this.#sockets.size === 0) this.#onEmpty?.();
    });
  }

  /** Lets them go on for up to `timeout` ms, and destroys those that are left. */
  async drain(clock: Clock, timeout: number): Promise<void> {
    if (this.#sockets.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    const cancel =
      timeout === Number.POSITIVE_INFINITY
        ? undefined
        : clock.schedule(Math.max(0, timeout), () => {
            this.destroy();
            resolve();
          });
    await promise;
    cancel?.();
  }

  /** Without an error: not everybody listens for one. */
  destroy(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
