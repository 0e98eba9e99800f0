import type { EventEmitter } from 'node:events';
import type { Dispatcher } from 'undici';
import { afterTwoTurns, type Cancel, systemClock } from '../../core/clock.ts';
import { buildConnector, Client, Pool, ProxyAgent, Socks5ProxyAgent } from '../../undici/index.ts';
import type { Credentials } from './credentials.ts';

/** ms to connect, TLS included. */
const connectTimeout = 5_000;
/** ms; client-go sends its first PING after 30 s of silence, and gives up 15 s later. */
export interface PingTimes {
  readonly interval: number;
  /** Without an answer for so long the peer counts as dead: two are lost, and the third is due. */
  readonly patience: number;
  /** Between looks at the answers. */
  readonly check: number;
}

const defaultTimes: PingTimes = { interval: 7_000, patience: 20_000, check: 3_000 };
/** ms of TCP idleness before the kernel probes a silent peer; it gives up after ten probes, one a second. */
const keepAliveDelay = 10_000;
/** ms an idle connection is kept; API servers close theirs after 90 s. */
const idleTimeout = 60_000;

/** Streams of one connection; undici would stop at 100, that is 50 Services. API servers lower it to the 250 they take. */
const maxConcurrentStreams = 1_000;

/** What a connection tells about itself. */
export interface ConnectionListener {
  /** The server asks to go elsewhere: running streams may end soon, new ones get a new connection. */
  onGoaway(): void;
  /** The peer is dead, and its streams end with an error. */
  onGone(): void;
}

/** A dispatcher to one API server whose sockets never keep the process alive and whose dead peers are noticed. */
export class Connection {
  readonly dispatcher: Dispatcher;
  readonly #answered = new Map<Client, number>();
  readonly #listener: ConnectionListener;
  readonly #times: PingTimes;
  #multiplexed = false;
  #closed = false;
  #cancelCheck: Cancel | undefined;

  constructor(credentials: Credentials, listener: ConnectionListener, times: PingTimes = defaultTimes) {
    this.#listener = listener;
    this.#times = times;
    const { proxy, tls, server } = credentials;
    if (proxy?.startsWith('socks')) {
      this.dispatcher = new Socks5ProxyAgent(proxy, { requestTls: tls });
    } else if (proxy !== undefined) {
      this.dispatcher = new ProxyAgent({ uri: proxy, requestTls: tls });
    } else {
      this.dispatcher = new Pool(new URL(server).origin, {
        connect: this.#connector(tls),
        allowH2: true,
        h2Options: { pingInterval: times.interval, maxConcurrentStreams },
        headersTimeout: 0,
        bodyTimeout: 0,
        keepAliveTimeout: idleTimeout,
        factory: (origin, options) => this.#client(origin, options),
      });
    }
    this.dispatcher.on('disconnect', (_origin, _targets, error) => {
      if (error?.message.includes('GOAWAY')) listener.onGoaway();
    });
  }

  /** Whether streams share one connection (HTTP/2), whose PINGs tell a dead peer from a quiet one. */
  get multiplexed(): boolean {
    return this.#multiplexed;
  }

  /** Lets running exchanges end. */
  async close(): Promise<void> {
    await this.dispatcher.close();
    this.#stopChecking();
  }

  async destroy(): Promise<void> {
    this.#stopChecking();
    await this.dispatcher.destroy();
  }

  #stopChecking(): void {
    this.#closed = true;
    this.#cancelCheck?.();
    this.#cancelCheck = undefined;
  }

  #connector(tls: Credentials['tls']): ReturnType<typeof buildConnector> {
    const connect = buildConnector({
      ...tls,
      allowH2: true,
      preferH2: true,
      timeout: connectTimeout,
      keepAliveInitialDelay: keepAliveDelay,
    });
    return (options, callback) => {
      connect(options, (...[error, socket]) => {
        if (error !== null) return callback(error, null);
        this.#multiplexed = 'alpnProtocol' in socket && socket.alpnProtocol === 'h2';
        // undici holds the process while a request runs, and a watch runs for ever.
        socket.unref();
        socket.ref = () => socket;
        callback(null, socket);
      });
    };
  }

  #client(origin: URL, options: object): Client {
    const client = new Client(origin, options);
    client.on('connect', () => {
      if (!this.#multiplexed || this.#closed) return;
      this.#answered.set(client, systemClock.now());
      this.#cancelCheck ??= systemClock.schedule(this.#times.check, () => this.#check());
    });
    client.on('disconnect', () => this.#answered.delete(client));
    (client as EventEmitter).on('ping', () => {
      if (this.#answered.has(client)) this.#answered.set(client, systemClock.now());
    });
    return client;
  }

  #check(): void {
    // After a stall of ours the answers may wait unread: they get their turn first.
    afterTwoTurns(() => {
      if (this.#closed) return;
      this.#cancelCheck = undefined;
      const now = systemClock.now();
      const { patience, check } = this.#times;
      const dead = [...this.#answered.values()].some((answered) => now - answered > patience);
      if (!dead) {
        if (this.#answered.size > 0) this.#cancelCheck = systemClock.schedule(check, () => this.#check());
        return;
      }
      this.#answered.clear();
      this.#listener.onGone();
      void this.dispatcher.destroy(new Error(`no answer to HTTP/2 PING for ${patience / 1000} s`));
    });
  }
}
