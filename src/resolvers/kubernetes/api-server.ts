import { X509Certificate } from 'node:crypto';
import { Connection } from './connection.ts';
import type { ClusterConfig, Credentials } from './credentials.ts';
import { WatchError } from './errors.ts';
import { Exchange, type Reply } from './exchange.ts';

const shared = new Map<string, ApiServer>();

/**
 * One cluster's API server: every watch of the process goes over its one connection. Use `ApiServer.of` and
 * `release`; the connection closes with its last user.
 */
export class ApiServer {
  /** Whether the server streams initial lists, as far as is known. */
  streamsLists = true;
  readonly #config: ClusterConfig;
  readonly #goaway = new Set<() => void>();
  readonly #back = new Set<() => void>();
  readonly #connections = new Set<Connection>();
  #current: { readonly connection: Connection; readonly made: string } | undefined;
  #users = 0;
  /** Since it last answered there was no answer. */
  #silent = false;

  private constructor(config: ClusterConfig) {
    this.#config = config;
  }

  static of(config: ClusterConfig): ApiServer {
    let server = shared.get(config.key);
    if (server === undefined) shared.set(config.key, (server = new ApiServer(config)));
    server.#users++;
    return server;
  }

  async release(): Promise<void> {
    if (--this.#users > 0) return;
    shared.delete(this.#config.key);
    await Promise.all([...this.#connections].map((connection) => connection.destroy()));
  }

  /** Whether a dead peer is noticed by PINGs. */
  get multiplexed(): boolean {
    return this.#current?.connection.multiplexed ?? false;
  }

  /** Calls back when the server asks its clients to go elsewhere; returns the way to stop that. */
  onGoaway(callback: () => void): () => void {
    this.#goaway.add(callback);
    return () => this.#goaway.delete(callback);
  }

  /** Calls back when the server answers once more after it did not; returns the way to stop that. */
  onBack(callback: () => void): () => void {
    this.#back.add(callback);
    return () => this.#back.delete(callback);
  }

  /** A GET that is repeated once, with credentials read anew, when the server refuses the first ones. */
  get(path: string, reply: Reply): Exchange {
    const exchange = new Exchange(this.#heard(reply), (status) => {
      if (status !== 401 || exchange.attempts > 1) return false;
      void this.#send(path, exchange, true);
      return true;
    });
    void this.#send(path, exchange, false);
    return exchange;
  }

  /** Whether the server is there concerns whoever waits for it. */
  #heard(reply: Reply): Reply {
    return {
      onHead: () => {
        const wasSilent = this.#silent;
        this.#silent = false;
        reply.onHead();
        if (wasSilent) for (const callback of [...this.#back]) callback();
      },
      onData: (chunk) => reply.onData(chunk),
      onEnd: () => reply.onEnd(),
      onError: (error) => {
        if (error.code === 'STEERSMAN_ERR_UNREACHABLE') this.#silent = true;
        reply.onError(error);
      },
    };
  }

  async #send(path: string, exchange: Exchange, fresh: boolean): Promise<void> {
    let credentials: Credentials;
    try {
      credentials = await this.#config.credentials(fresh);
      checkHeaders(credentials.headers);
    } catch (error) {
      exchange.fail(
        error instanceof WatchError
          ? error
          : new WatchError('credentials for the API server cannot be had', 'STEERSMAN_ERR_KUBECONFIG', {
              cause: error,
            }),
      );
      return;
    }
    const { server, headers, tls } = credentials;
    const prefix = new URL(server).pathname.replace(/\/$/, '');
    exchange.start(server, expiryOf(tls.cert));
    this.#connection(credentials).dispatcher.dispatch(
      {
        origin: new URL(server).origin,
        path: prefix + path,
        method: 'GET',
        headers: { accept: 'application/json', 'user-agent': 'steersman', ...headers },
        headersTimeout: 0,
        bodyTimeout: 0,
      },
      exchange,
    );
  }

  #connection(credentials: Credentials): Connection {
    const { server, tls, proxy } = credentials;
    const made = JSON.stringify([server, proxy, tls], (_key, value) =>
      Buffer.isBuffer(value) ? value.toString('latin1') : value,
    );
    if (this.#current?.made !== made) {
      this.#retire();
      const connection: Connection = new Connection(credentials, {
        // undici would let a new stream wait there for the old ones to end.
        onGoaway: () => {
          if (this.#current?.connection === connection) this.#retire();
          for (const callback of [...this.#goaway]) callback();
        },
        onGone: () => {
          if (this.#current?.connection === connection) this.#current = undefined;
          this.#connections.delete(connection);
        },
      });
      this.#connections.add(connection);
      this.#current = { connection, made };
    }
    return this.#current.connection;
  }

  /** New requests get a new connection; the old one closes when its last exchange has ended. */
  #retire(): void {
    const old = this.#current?.connection;
    this.#current = undefined;
    if (old !== undefined) void old.close().then(() => this.#connections.delete(old));
  }
}

/** undici's complaint about a header would repeat its value. */
function checkHeaders(headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) {
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value))
      throw new WatchError(
        `the ${name} header for the API server holds a character that no header may: look at the token's file or plugin`,
        'STEERSMAN_ERR_KUBECONFIG',
      );
  }
}

/** When a client certificate ends. */
function expiryOf(cert: string | Buffer | undefined): Date | undefined {
  if (cert === undefined) return undefined;
  try {
    return new X509Certificate(cert).validToDate;
  } catch {
    return undefined;
  }
}
