import type { IncomingHttpHeaders as Headers } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { buildConnector, Client as ClientType, Dispatcher } from 'undici';
import { afterTwoTurns, type Clock } from '../core/clock.ts';
import { Client } from '../undici/index.ts';
import { isIdempotentMethod } from './failure.ts';
import { hearingEndLate } from './late-end.ts';

type Connector = buildConnector.connector;
type Controller = Dispatcher.DispatchController;

/** ms that a connection may have been idle and still carry what must not run twice. */
const longestIdle = 1_000;
/** No server closes connections that have been idle for so few ms. */
const shortestIdle = 10;
/** Share of a server's idle time that is used: a loaded process sees closes tens of ms late. */
const margin = 0.25;
/** So many connections must have survived a rest: one may just have been before the server's time. */
const witnesses = 8;

/**
 * How long connections to one endpoint may be idle before a request that must not run twice avoids them: the server
 * may be closing them at this very moment, and then nobody can say whether it saw the request. A server that gives a
 * `Keep-Alive` hint is trusted, since undici keeps 2 s away from it. With one that does not, a connection may have
 * been idle for as long as eight others were seen to survive, up to a second. Once the server was seen to close an
 * idle one, a quarter of the time which that took may have passed since the last request was sent: a process that is
 * short of CPU time sees the answer, after which the server counts, late.
 */
export class IdleLimit {
  readonly #clock: Clock;
  /** The longest rests that were survived, ascending. */
  readonly #survived: number[] = new Array<number>(witnesses).fill(shortestIdle);
  #closed = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** ms since the last response ended */
  get rest(): number {
    return Math.min(longestIdle, this.#survival);
  }

  /** ms since the last request was sent; infinite as long as the server closes none. */
  get reach(): number {
    return this.#closed * margin;
  }

  get #survival(): number {
    return this.#survived[0] as number;
  }

  now(): number {
    return this.#clock.now();
  }

  survived(idle: number): void {
    if (idle <= this.#survival) return;
    this.#survived[0] = idle;
    this.#survived.sort((a, b) => a - b);
  }

  closedAfter(idle: number): void {
    this.#closed = Math.min(this.#closed, idle);
  }
}

/** What is known of the one connection that a client has. */
class Line {
  readonly limit: IdleLimit;
  socket: Socket | undefined;
  /** Not connected yet. */
  connecting: Socket | undefined;
  /** When the last response ended; undefined while one is under way, and with a server whose hint is trusted. */
  idleSince: number | undefined;
  /** When the last request was sent; noted only where it may matter. */
  sentAt: number | undefined;
  hinted = false;
  asked = false;

  constructor(limit: IdleLimit) {
    this.limit = limit;
  }

  /** The connector, with an eye on what it connects. */
  watched(connector: Connector): Connector {
    return (options, callback) => {
      this.connecting = connector(options, (...result) => {
        this.connecting = undefined;
        const [, socket] = result;
        // Absent, where the types say null, when it failed.
        if ((socket as TLSSocket | null)?.alpnProtocol === 'h2') {
          hearingEndLate(socket as Socket, () => callback(...result));
          return;
        }
        if (socket != null) this.#connected(socket);
        callback(...result);
      }) as Socket | undefined;
    };
  }

  /** ms since the last response ended, where the server may be closing the connection; else undefined. */
  get doubtful(): number | undefined {
    const { socket, limit, idleSince, sentAt } = this;
    if (socket === undefined || socket.destroyed || idleSince === undefined) return undefined;
    const now = limit.now();
    const idle = now - idleSince;
    return idle > limit.rest || now - (sentAt ?? idleSince) > limit.reach ? idle : undefined;
  }

  /** A request is being sent. */
  begin(): void {
    this.idleSince = undefined;
    this.sentAt = this.limit.reach === Number.POSITIVE_INFINITY ? undefined : this.limit.now();
  }

  /** Notes that the connection has survived, once a close that is under way would have been heard. */
  witness(idle: number, then?: () => void): void {
    const { socket, limit } = this;
    afterTwoTurns(() => {
      if (socket?.destroyed === false && !socket.readableEnded) limit.survived(idle);
      then?.();
    });
  }

  #connected(socket: Socket): void {
    this.socket = socket;
    this.idleSince = undefined;
    this.hinted = this.asked = false;
    socket.once('end', () => {
      if (this.socket === socket && this.idleSince !== undefined) {
        this.limit.closedAfter(this.limit.now() - this.idleSince);
      }
    });
  }
}

/** Looks for the server's hint in the first answer of a connection. */
class HintReader implements Dispatcher.DispatchHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #line: Line;

  constructor(handler: Dispatcher.DispatchHandler, line: Line) {
    this.#handler = handler;
    this.#line = line;
  }

  onRequestStart(controller: Controller, context: object): void {
    this.#handler.onRequestStart?.(controller, context);
  }

  onRequestUpgrade(controller: Controller, status: number, headers: Headers, socket: Duplex): void {
    this.#handler.onRequestUpgrade?.(controller, status, headers, socket);
  }

  onResponseStart(controller: Controller, status: number, headers: Headers, statusText?: string): void {
    if (/timeout=\d/.test(String(headers['keep-alive']))) this.#line.hinted = true;
    this.#handler.onResponseStart?.(controller, status, headers, statusText);
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.#handler.onResponseData?.(controller, chunk);
  }

  onResponseEnd(controller: Controller, trailers: Headers): void {
    this.#handler.onResponseEnd?.(controller, trailers);
  }

  onResponseError(controller: Controller, error: Error): void {
    this.#handler.onResponseError?.(controller, error);
  }

  onBodySent(chunk: Buffer): void {
    this.#handler.onBodySent?.(chunk);
  }

  onRequestSent(): void {
    this.#handler.onRequestSent?.();
  }

  onResponseStarted(): void {
    this.#handler.onResponseStarted?.();
  }
}

/** One connection to an endpoint, which is made anew rather than risked for what must not run twice. */
export class CarefulClient extends Client {
  readonly #line: Line;
  readonly #maxAge: number;
  #connected = Number.POSITIVE_INFINITY;
  /** A request waits until it is known whether the connection is being closed. */
  #held: Promise<void> | undefined;

  /** `maxAge`: ms, the `clientTtl` of its Pool. */
  static of(origin: URL, options: ClientType.Options, limit: IdleLimit, maxAge: number): CarefulClient {
    return new CarefulClient(origin, options, new Line(limit), maxAge);
  }

  private constructor(origin: URL, options: ClientType.Options, line: Line, maxAge: number) {
    super(origin, { ...options, connect: line.watched(options.connect as Connector) });
    this.#line = line;
    this.#maxAge = maxAge;
    // Told when it can take a request again: the last response has ended.
    this.on('drain', () => {
      if (!line.hinted) line.idleSince = line.limit.now();
    });
  }

  /**
   * When it was connected, which undici's Pool notes and subtracts from the wall clock's time. That clock may jump, so
   * the answer is: just now, or an eternity ago.
   */
  get ttl(): number {
    return this.#line.limit.now() - this.#connected > this.#maxAge ? Number.NEGATIVE_INFINITY : 0;
  }

  set ttl(_: number) {
    this.#connected = this.#line.limit.now();
  }

  override dispatch(options: Dispatcher.DispatchOptions, given: Dispatcher.DispatchHandler): boolean {
    const line = this.#line;
    const handler = line.asked ? given : new HintReader(given, line);
    line.asked = true;
    const idle = line.doubtful;
    if (idle !== undefined) {
      if (!(options.idempotent ?? isIdempotentMethod(options.method)) && this.stats.size === 0) {
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#held = promise;
        line.witness(idle, () => {
          this.#held = undefined;
          line.socket?.destroy();
          super.dispatch(options, handler);
          resolve();
        });
        // As for every request: taken, and no room for another.
        return false;
      }
      line.witness(idle);
    }
    line.begin();
    return super.dispatch(options, handler);
  }

  override close(): Promise<void>;
  override close(callback: () => void): void;
  override close(...args: []): Promise<void> {
    // It was taken, and is to finish like the rest.
    return this.#held === undefined ? super.close(...args) : this.#held.then(() => super.close(...args));
  }

  override destroy(): Promise<void>;
  override destroy(error: Error | null): Promise<void>;
  override destroy(callback: () => void): void;
  override destroy(error: Error | null, callback: () => void): void;
  override destroy(...args: []): Promise<void> {
    const destroyed = super.destroy(...args);
    // undici would wait for the connection, and keep the process alive meanwhile.
    this.#line.connecting?.destroy();
    return destroyed;
  }
}
