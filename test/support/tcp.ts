import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { endpoint } from '../../src/testing/values.ts';

/** What a raw server does with one connection, and, from the second argument on, what it was sent so far. */
export type Conduct = (socket: Socket, server: RawServer) => void;

/** A TCP server on loopback that does what the test says, byte by byte. */
export class RawServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  connections = 0;
  /** Requests whose head has arrived. */
  requests = 0;

  private constructor(conduct: Conduct) {
    this.#server = createServer((socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => this.#sockets.delete(socket));
      conduct(socket, this);
    });
  }

  static async start(conduct: Conduct): Promise<RawServer> {
    const server = new RawServer(conduct);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get endpoint(): Endpoint {
    return endpoint(`127.0.0.1:${this.port}`);
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#sockets.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Calls back with each whole request: a head, and the body that its content-length announces. */
export function onRequest(
  socket: Socket,
  server: RawServer,
  answer: (n: number, head: string) => void,
): void {
  let received = '';
  let n = 0;
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
    for (;;) {
      const end = received.indexOf('\r\n\r\n');
      if (end === -1) return;
      const head = received.slice(0, end);
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (received.length < end + 4 + length) return;
      received = received.slice(end + 4 + length);
      server.requests++;
      answer(n++, head);
    }
  });
}

export const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

/** A port that refuses connections: it was free a moment ago. */
export async function refusingEndpoint(): Promise<Endpoint> {
  const server = await RawServer.start(() => {});
  const { endpoint: refusing } = server;
  await server[Symbol.asyncDispose]();
  return refusing;
}
