import { afterTwoTurns, type Cancel, type Clock } from '../../core/clock.ts';
import type { ApiServer } from './api-server.ts';
import { WatchError } from './errors.ts';
import { nameOf, versionOf } from './object.ts';
import { type WatchEvent, WatchStream } from './watch-stream.ts';

/** ms for the head of an answer: a server waits 3 s for a version it has not reached. */
const headPatience = 10_000;
/** ms of silence in a streaming list before its end is marked: such a server does not know streaming lists. */
const markPatience = 1_000;
/** ms beyond the time a watch was asked to last after which the server has forgotten us. */
const overtime = 10_000;

export interface SessionListener<T> {
  read(object: unknown): T;
  /** The initial state of a streaming list is complete. */
  onInitial(items: readonly T[], resourceVersion: string): void;
  /** The server has accepted the watch, and told the initial state where one was asked for. */
  onLive(): void;
  /** A change, or a bookmark. */
  onEvent(type: string, object: unknown, resourceVersion: string): void;
  /** All that had arrived has been told. */
  onSettled(): void;
  /** Nothing has been heard for the time given. */
  onSilence(): void;
  onEnd(end: SessionEnd): void;
}

export interface SessionEnd {
  /** Absent: the watch came to its proper end, or should have. */
  readonly error?: WatchError;
  /** Whether any change or bookmark came. */
  readonly told: boolean;
  /** ms since the head. */
  readonly lived: number;
  /** The server seems not to know streaming lists. */
  readonly notStreaming?: boolean;
}

export interface SessionOptions {
  readonly path: string;
  /** Whether the initial state is to come first, with its end marked. */
  readonly initial: boolean;
  /** ms the server was asked to let the watch last. */
  readonly lasting: number;
  /** ms of silence after which `onSilence` is called, once; looked at again whenever the time may have come. */
  readonly silence: () => number;
}

/** One watch with its deadlines. */
export class Session<T> {
  readonly #options: SessionOptions;
  readonly #listener: SessionListener<T>;
  readonly #clock: Clock;
  readonly #stream: WatchStream;
  #initial: Map<string, T> | undefined;
  #head: number | undefined;
  #told = false;
  #ended = false;
  readonly #cancels = new Set<Cancel>();
  #live = false;

  constructor(api: ApiServer, clock: Clock, options: SessionOptions, listener: SessionListener<T>) {
    this.#options = options;
    this.#listener = listener;
    this.#clock = clock;
    if (options.initial) this.#initial = new Map();
    this.#after(headPatience, () => {
      if (this.#head !== undefined) return;
      const error = new WatchError(
        `no answer from the API server to a watch within ${headPatience / 1000} s`,
        'STEERSMAN_ERR_UNREACHABLE',
      );
      this.#end({ error });
    });
    this.#stream = new WatchStream(api, clock, options.path, {
      onHead: () => this.#onHead(),
      onEvent: (event) => this.#onEvent(event),
      onPause: () => {
        if (this.#live) listener.onSettled();
      },
      onEnd: (error) => {
        if (this.#initial === undefined) return this.#end(error === undefined ? {} : { error });
        // The server either refused the parameters or ended without the mark, as one does that ignores them.
        const { status } = error ?? { status: 400 };
        if (status === 400 || status === 422) this.#end({ notStreaming: true });
        else this.#end(error === undefined ? {} : { error });
      },
    });
  }

  /** Whether the state told so far is current and stays so. */
  get live(): boolean {
    return this.#live && !this.#ended;
  }

  close(): void {
    this.#ended = true;
    this.#cancelAll();
    this.#stream.close();
  }

  #cancelAll(): void {
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }

  /** Calls back once what the kernel had ready by then has been heard: it may be us who are late. */
  #after(delay: number, callback: () => void): void {
    const cancel = this.#clock.schedule(delay, () => {
      this.#cancels.delete(cancel);
      afterTwoTurns(() => {
        if (!this.#ended) callback();
      });
    });
    this.#cancels.add(cancel);
  }

  #onHead(): void {
    this.#cancelAll();
    this.#head = this.#clock.now();
    this.#after(this.#options.lasting + overtime, () => this.#end({}));
    this.#whenSilent(this.#options.silence, () => this.#listener.onSilence());
    if (this.#initial === undefined) this.#becomeLive();
    else {
      this.#whenSilent(
        () => markPatience,
        () => {
          if (this.#initial !== undefined) this.#end({ notStreaming: true });
        },
      );
    }
  }

  #becomeLive(): void {
    this.#live = true;
    this.#listener.onLive();
  }

  /** Calls back once nothing has been heard for that many ms. */
  #whenSilent(patience: () => number, callback: () => void): void {
    const look = (delay: number): void => {
      this.#after(delay, () => {
        const left = this.#stream.heard + patience() - this.#clock.now();
        if (left > 0) look(left);
        else callback();
      });
    };
    look(patience());
  }

  #onEvent({ type, object }: WatchEvent): void {
    if (type === 'ERROR') throw statusError(object);
    const version = versionOf(object);
    if (version === undefined) return;
    if (this.#initial === undefined) {
      this.#told = true;
      this.#listener.onEvent(type, object, version);
      return;
    }
    const name = nameOf(object);
    if (type === 'BOOKMARK') {
      if (!marksInitialEnd(object)) return;
      const items = [...this.#initial.values()];
      this.#initial = undefined;
      this.#told = true;
      this.#listener.onInitial(items, version);
      this.#becomeLive();
    } else if (name === undefined) return;
    else if (type === 'ADDED' || type === 'MODIFIED') this.#initial.set(name, this.#listener.read(object));
    else if (type === 'DELETED') this.#initial.delete(name);
  }

  #end(end: Partial<SessionEnd>): void {
    if (this.#ended) return;
    this.close();
    const lived = this.#head === undefined ? 0 : this.#clock.now() - this.#head;
    this.#listener.onEnd({ told: this.#told, lived, ...end });
  }
}

function marksInitialEnd(object: unknown): boolean {
  const { metadata } = object as { metadata: { annotations?: Record<string, unknown> } };
  return metadata.annotations?.['k8s.io/initial-events-end'] === 'true';
}

/** The `Status` of an `ERROR` event: what would have been an HTTP status, had the answer not begun. */
function statusError(object: unknown): WatchError {
  const status = (typeof object === 'object' && object !== null ? object : {}) as {
    code?: unknown;
    message?: unknown;
    details?: { retryAfterSeconds?: unknown; causes?: unknown } | null;
  };
  const code = typeof status.code === 'number' ? status.code : 500;
  const seconds = status.details?.retryAfterSeconds;
  return new WatchError(
    `the watch was ended by the API server: ${String(status.message ?? 'no reason given').slice(0, 500)} (${code})`,
    code === 403 ? 'STEERSMAN_ERR_FORBIDDEN' : 'STEERSMAN_ERR_API',
    {
      status: code,
      retryAfter: typeof seconds === 'number' && seconds > 0 ? Math.min(seconds, 30) * 1000 : undefined,
    },
  );
}
