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

  /** Resets every connection. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
