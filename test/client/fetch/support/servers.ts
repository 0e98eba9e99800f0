import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import {
  type AddressInfo,
  createServer as createRawServer,
  type Server as NetServer,
  type Socket,
} from 'node:net';

/** A request as the server saw it: bytes that matter, in the order they came. */
export interface SeenRequest {
  method: string;
  url: string;
  headers: [string, string][];
  body: string;
}

/** Where requests are noted as they arrive. */
export class Notes {
  #seen: SeenRequest[] = [];

  add(request: SeenRequest): void {
    this.#seen.push(request);
  }

  /** What has arrived since the last time. */
  take(): SeenRequest[] {
    const taken = this.#seen;
    this.#seen = [];
    return taken;
  }
}

export type Route = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void;

/** Answers `routes[path]`, and notes each request whose body came to its end. */
export function noting(notes: Notes, routes: Readonly<Record<string, Route>>): RequestListener {
  return async (request, response) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const body = Buffer.concat(chunks);
    const headers: [string, string][] = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      headers.push([request.rawHeaders[i] as string, request.rawHeaders[i + 1] as string]);
    }
    // Whether an aborted request arrives at all is a matter of luck there.
    if (!request.url?.startsWith('/uncounted'))
      notes.add({
        method: request.method as string,
        url: request.url as string,
        headers,
        body: body.toString('latin1'),
      });
    // Two calls that are compared may be on either side of a second.
    response.sendDate = false;
    const path = (request.url as string).split('?', 1)[0] as string;
    const route = routes[path];
    if (route !== undefined) route(request, response, body);
    else response.writeHead(404).end();
  };
}

export async function listen<S extends Server | NetServer>(server: S): Promise<{ server: S; port: number }> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

export function httpServer(
  notes: Notes,
  routes: Readonly<Record<string, Route>>,
): Promise<{ server: Server; port: number }> {
  const server = createServer({ keepAliveTimeout: 60_000 }, noting(notes, routes));
  return listen(server);
}

/** Answers whatever bytes, once the head of a request is there: for what no HTTP server would say. */
export function rawServer(
  answer: (socket: Socket, path: string, head: string) => void,
): Promise<{ server: NetServer; port: number }> {
  const server = createRawServer((socket) => {
    let head = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      head += chunk.toString('latin1');
      const end = head.indexOf('\r\n\r\n');
      if (end === -1) return;
      const path = head.split(' ', 2)[1] as string;
      const whole = head;
      head = '';
      answer(socket, path, whole);
    });
  });
  return listen(server);
}
