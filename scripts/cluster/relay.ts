import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Carries bytes to the API server, so that a connection can be cut without touching the server. */
export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Refuses newcomers while set. */
  cut = false;
  connections = 0;

  private constructor(host: string, port: number) {
    this.#server = createServer((near) => {
      if (this.cut) {
        near.resetAndDestroy();
        return;
      }
      this.connections++;
      const far = connect(port, host);
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.pipe(far).pipe(near);
    });
  }

  static async start(host: string, port: number): Promise<Relay> {
    const relay = new Relay(host, port);
    await new Promise<void>((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    return relay;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections that are open. */
  get open(): number {
    return this.#sockets.size / 2;
  }

  /** Resolves when no connection is left. */
  async idle(): Promise<void> {
    for (let i = 0; this.#sockets.size > 0; i++) {
      if (i === 100) throw new Error(`${this.open} connections are left 2 s after the last watch was closed`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Resets every connection. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
