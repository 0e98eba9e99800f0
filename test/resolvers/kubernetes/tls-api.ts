import { readFileSync } from 'node:fs';
import {
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { kubeconfigFor } from './scripted-api.ts';

/** A file of the tests' own certificate authority. */
export function pem(name: string): string {
  return readFileSync(join(import.meta.dirname, '../../fixtures/kube/tls', name), 'utf8');
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** One request that waits for the test to answer it. */
export class Asking {
  readonly url: URL;
  readonly stream: ServerHttp2Stream;
  readonly authorization: string | undefined;

  constructor(stream: ServerHttp2Stream, path: string, authorization: string | undefined) {
    this.stream = stream;
    this.url = new URL(path, 'https://api');
    this.authorization = authorization;
    stream.on('error', () => {});
  }

  head(status = 200): this {
    this.stream.respond({ ':status': status, 'content-type': 'application/json' });
    return this;
  }

  send(...events: readonly object[]): this {
    for (const event of events) this.stream.write(`${JSON.stringify(event)}\n`);
    return this;
  }

  refuse(status: number, body: object): void {
    this.head(status);
    this.stream.end(JSON.stringify(body));
  }
}

export interface TlsApiOptions {
  readonly server?: string;
  readonly requestCert?: boolean;
  /** That one connection may carry at a time. @default 250 */
  readonly streams?: number;
  readonly onAsk: (asking: Asking) => void;
}

/** An API server over TLS and HTTP/2. */
export class TlsApi {
  readonly sessions: ServerHttp2Session[] = [];
  readonly sockets: Set<TLSSocket> = new Set();
  readonly #server: Http2SecureServer;

  private constructor({ server = 'server', requestCert = false, streams = 250, onAsk }: TlsApiOptions) {
    this.#server = createSecureServer({
      key: pem(`${server}.key`),
      cert: pem(`${server}.crt`),
      ca: pem('ca.crt'),
      requestCert,
      rejectUnauthorized: false,
      settings: { maxConcurrentStreams: streams },
    });
    this.#server.on('secureConnection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    this.#server.on('session', (session) => this.sessions.push(session));
    this.#server.on('sessionError', () => {});
    this.#server.on('stream', (stream, headers) => {
      onAsk(new Asking(stream, headers[':path'] ?? '', headers.authorization));
    });
  }

  static async start(options: TlsApiOptions): Promise<TlsApi> {
    const api = new TlsApi(options);
    await new Promise<void>((resolve) => api.#server.listen(0, '127.0.0.1', resolve));
    return api;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  kubeconfig(user = 'token: the-token', ca = 'ca.crt', port: number = this.port): string {
    return kubeconfigFor(`https://127.0.0.1:${port}`, user, `certificate-authority-data: ${base64(pem(ca))}`);
  }

  async close(): Promise<void> {
    for (const session of this.sessions) session.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** The user entry of a client certificate. */
export function certificateUser(name: string): string {
  return `client-certificate-data: ${base64(pem(`${name}.crt`))}\n    client-key-data: ${base64(pem(`${name}.key`))}`;
}
