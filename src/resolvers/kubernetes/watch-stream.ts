import type { Clock } from '../../core/clock.ts';
import type { ApiServer } from './api-server.ts';
import { WatchError } from './errors.ts';
import type { Exchange } from './exchange.ts';
import { Lines } from './lines.ts';
import { turnSpent } from './work-budget.ts';

/** Bytes of the longest event: a slice may hold 1000 endpoints, of about 250 bytes each. */
const lineLimit = 8 * 1024 * 1024;

/** One line of a watch. */
export interface WatchEvent {
  readonly type: string;
  readonly object: unknown;
}

export interface WatchStreamListener {
  onHead(): void;
  onEvent(event: WatchEvent): void;
  /** All events that had arrived are told. */
  onPause(): void;
  /** Without an error: the stream came to its proper end, which says nothing about why. */
  onEnd(error?: WatchError): void;
}

/** One watch request: its events in order, a few ms of them per turn of the event loop. */
export class WatchStream {
  readonly #listener: WatchStreamListener;
  readonly #exchange: Exchange;
  readonly #lines: Lines = new Lines(lineLimit);
  #queue: Buffer[] = [];
  #working = false;
  #ended = false;
  #closed = false;
  #end: WatchError | undefined;
  #heard: number;

  constructor(api: ApiServer, clock: Clock, path: string, listener: WatchStreamListener) {
    this.#listener = listener;
    this.#heard = clock.now();
    this.#exchange = api.get(path, {
      onHead: () => {
        this.#heard = clock.now();
        if (!this.#closed) listener.onHead();
      },
      onData: (chunk) => {
        this.#heard = clock.now();
        this.#queue.push(chunk);
        if (!this.#working) this.#work();
      },
      onEnd: () => this.#finish(undefined),
      onError: (error) => this.#finish(error),
    });
  }

  /** When the peer last sent anything, by the clock. */
  get heard(): number {
    return this.#heard;
  }

  close(): void {
    this.#closed = true;
    this.#exchange.abort();
  }

  #finish(error: WatchError | undefined): void {
    this.#ended = true;
    this.#end = error;
    if (!this.#working) this.#conclude();
  }

  #conclude(): void {
    if (this.#closed) return;
    this.#closed = true;
    const rest = this.#lines.rest();
    const error =
      this.#end ??
      (rest.trim() === ''
        ? undefined
        : new WatchError('the watch ended inside an event', 'STEERSMAN_ERR_UNREACHABLE'));
    this.#listener.onEnd(error);
  }

  #work(): void {
    this.#working = true;
    try {
      while (!this.#closed) {
        if (turnSpent()) {
          // The rest gets its turn; meanwhile the peer is told to wait.
          if (!this.#exchange.paused) this.#exchange.pause();
          setImmediate(() => this.#work());
          return;
        }
        const line = this.#lines.next();
        if (line !== undefined) {
          this.#tell(line);
          continue;
        }
        const chunk = this.#queue.shift();
        if (chunk === undefined) break;
        this.#lines.push(chunk);
      }
    } catch (error) {
      this.#exchange.abort();
      this.#end = error instanceof WatchError ? error : unreadable(error);
      this.#ended = true;
      this.#queue = [];
    }
    this.#working = false;
    if (this.#closed) return;
    this.#listener.onPause();
    if (this.#ended) this.#conclude();
    else if (this.#exchange.paused) this.#exchange.resume();
  }

  #tell(line: string): void {
    let event: WatchEvent;
    try {
      event = JSON.parse(line) as WatchEvent;
    } catch (error) {
      throw unreadable(error);
    }
    if (typeof event === 'object' && event !== null && typeof event.type === 'string')
      this.#listener.onEvent(event);
  }
}

/** Never with the text itself, which a parser's own message would quote. */
function unreadable(error: unknown): WatchError {
  const what =
    error instanceof RangeError
      ? error.message
      : error instanceof SyntaxError
        ? 'an event that is not JSON'
        : 'an object that is not of the form it should have';
  return new WatchError(`the watch sent ${what}`, 'STEERSMAN_ERR_API');
}
