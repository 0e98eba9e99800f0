import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createSecureServer } from 'node:http2';
import type { AddressInfo, Server, Socket } from 'node:net';

/** PEM texts: what the API server shows, and whom callers are to trust. */
export interface ApiTls {
  /** A certificate for 127.0.0.1. */
  readonly cert: string;
  readonly key: string;
  /** Goes into the kubeconfig; the certificate itself by default. */
  readonly ca?: string;
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

/** As kube-apiserver has it: clients keep idle connections much longer than Node's servers do. */
const keepAliveTimeout = 90_000;

/** A server on 127.0.0.1 that keeps its port: HTTP/1.1, or with TLS HTTP/2 as well, as the caller prefers. */
export class ApiListener {
  readonly #server: Server;
  readonly #scheme: string;
  readonly #sockets = new Set<Socket>();
  #port = 0;

  constructor(tls: ApiTls | undefined, onRequest: Listener) {
    this.#scheme = tls === undefined ? 'http' : 'https';
    this.#server =
      tls === undefined
        ? createServer({ keepAliveTimeout }, onRequest)
        : // What is used of them here, requests and responses of HTTP/2 have too.
          createSecureServer({ ...tls, allowHTTP1: true }, onRequest as never);
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  get url(): string {
    return `${this.#scheme}://127.0.0.1:${this.#port}`;
  }

  get listening(): boolean {
    return this.#server.listening;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port, '127.0.0.1', () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Stops listening and resets what is connected. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }
}
