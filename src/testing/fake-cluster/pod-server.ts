import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Addresses } from './addresses.ts';

/** Tries of another address when a port is taken. */
const maxTries = 20;

/** The listening side of a pod: one server per port, all on one address. */
export class PodServer {
  onRequest: (request: IncomingMessage, response: ServerResponse) => void = () => {};
  readonly #servers = new Map<string, Server>();
  readonly #ports = new Map<string, number>();
  readonly #sockets = new Set<Socket>();
  #address = '';
  #draining = false;

  get address(): string {
    return this.#address;
  }

  get ports(): ReadonlyMap<string, number> {
    return this.#ports;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /**
   * Listens on the wanted ports (0: any) of the next address where they are free. Where there is but one address,
   * a port that is taken gives way to any other.
   */
  async start(wanted: ReadonlyMap<string, number>, addresses: Addresses): Promise<void> {
    for (let tries = 1; ; tries++) {
      this.#address = addresses.next();
      try {
        for (const [name, port] of wanted) await this.#open(name, port, addresses.distinct);
        return;
      } catch (error) {
        this.crash();
        if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || tries === maxTries) {
          throw new Error(
            `a pod cannot listen on ${this.#address}, ports ${[...wanted.values()].join(', ')}: choose another targetPort`,
            { cause: error },
          );
        }
      }
    }
  }

  /** As the death of the process: nothing listens, connections break. */
  crash(): void {
    for (const server of this.#servers.values()) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Listens again, on the same ports. */
  resume(): void {
    for (const [name, server] of this.#servers) server.listen(this.#ports.get(name), this.#address);
  }

  /** Takes no more connections, closes idle ones, ends the others with the answers under way. */
  async drain(): Promise<void> {
    this.#draining = true;
    const closed = [...this.#servers.values()].map(
      (server) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    await Promise.all(closed);
  }

  async #open(name: string, wanted: number, distinct: boolean): Promise<void> {
    const server = createServer((request, response) => {
      // Asked when the head is written: a drain may have begun by then.
      const { writeHead } = response;
      response.writeHead = (...args: unknown[]) => {
        if (this.#draining) response.shouldKeepAlive = false;
        return Reflect.apply(writeHead, response, args);
      };
      this.onRequest(request, response);
    });
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    try {
      await listen(server, wanted, this.#address);
    } catch (error) {
      if (distinct || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      await listen(server, 0, this.#address);
    }
    this.#servers.set(name, server);
    this.#ports.set(name, (server.address() as AddressInfo).port);
  }
}

function listen(server: Server, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
