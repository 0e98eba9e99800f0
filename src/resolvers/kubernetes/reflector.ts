import type { Cancel, Clock, Random } from '../../core/clock.ts';
import type { ApiServer } from './api-server.ts';
import { Backoff } from './backoff.ts';
import { WatchError } from './errors.ts';
import { list } from './list.ts';
import type { Pace } from './pace.ts';
import { Session, type SessionEnd } from './session.ts';

/** s a watch is asked to last: shorter than client-go's 300–600, so that a lost one is missed less long. */
const lasting = [240, 480] as const;
/** ms for a whole list; the server's own limit is 60 s. */
const listPatience = 60_000;
/** ms a watch has to live before what went wrong earlier is forgotten. */
const healthyAfter = 30_000;
/** ms: a shorter watch that told nothing counts as failed, as in client-go. */
const veryShort = 1_000;
/**
 * ms of silence after which a watch is renewed: two and a half times the interval of bookmarks, which come wherever
 * anything in the cluster changes. Without PINGs (HTTP/1.1) it is less at first, and doubles up to that as long as
 * renewing finds that nothing was missed.
 */
const silence = [15_000, 150_000] as const;
/** ms within which those who wait for a server ask again once it has answered another, to spread them. */
const togetherWithin = 1_000;

/** Why a watch is asked for: there is none, or it is about to end, or may be dead without our knowing. */
type Reason = 'start' | 'goaway' | 'doubt';

/** What is watched: one collection, narrowed by a selector. */
export interface Collection {
  /** `/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices` */
  readonly path: string;
  /** `labelSelector=…`, encoded. */
  readonly selector: string;
}

export interface ReflectorListener<T> {
  /** Makes what is kept of an object, as it arrives. */
  read(object: unknown): T;
  /** The complete state. */
  onReplace(items: readonly T[]): void;
  onUpsert(item: T): void;
  onDelete(item: T): void;
  /** All that had arrived has been told. */
  onSettled(): void;
  /** The state is current, and stays so until the next error. */
  onLive(): void;
  onError(error: WatchError): void;
}

export interface ReflectorOptions {
  readonly api: ApiServer;
  readonly clock: Clock;
  readonly random: Random;
  readonly pace: Pace;
  /** ms between tries while forbidden. @default 30_000 */
  readonly forbiddenDelay?: number;
}

/**
 * Keeps a copy of a collection: lists, then watches from the list's version on, resuming after whatever ends a
 * watch, and listing anew where resuming might not tell the truth. Errors never end it.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export class Reflector<T> {
  readonly #collection: Collection;
  readonly #listener: ReflectorListener<T>;
  readonly #options: ReflectorOptions;
  readonly #backoff: Backoff;
  readonly #offGoaway: () => void;
  readonly #offBack: () => void;
  #closed = false;
  /** Of the last event, bookmark or list; empty before the first, and where the server has not reached it. */
  #version = '';
  #synchronised = false;
  #resumable = false;
  #silence: number = silence[0];
  #cancelStart: Cancel | undefined;
  /** The next try waits only for the server to be there again. */
  #waiting = false;
  #list: { close(): void } | undefined;
  #session: Session<T> | undefined;
  /** The session that takes over from the running one as soon as it is answered. */
  #heir: Session<T> | undefined;
  /** Versions told since the heir was asked for: it will tell them again. */
  #retold: Set<string> = new Set();

  constructor(collection: Collection, listener: ReflectorListener<T>, options: ReflectorOptions) {
    this.#collection = collection;
    this.#listener = listener;
    this.#options = options;
    this.#backoff = new Backoff(options.random, options.forbiddenDelay);
    this.#offGoaway = options.api.onGoaway(() => {
      if (this.#session?.live) this.#after(0, () => this.#renew('goaway'));
    });
    this.#offBack = options.api.onBack(() => {
      if (!this.#waiting) return;
      this.#waiting = false;
      this.#start(options.random() * togetherWithin);
    });
    this.#start(0);
  }

  get resourceVersion(): string {
    return this.#version;
  }

  /** Whether the state has been told at least once. */
  get synchronised(): boolean {
    return this.#synchronised;
  }

  /** Renews the watch, so that what it may have missed comes now. */
  refresh(): void {
    this.#renew('doubt');
  }

  close(): void {
    this.#closed = true;
    this.#offGoaway();
    this.#offBack();
    this.#cancelStart?.();
    this.#stop();
  }

  #stop(): void {
    this.#list?.close();
    this.#session?.close();
    this.#heir?.close();
    this.#list = undefined;
    this.#session = undefined;
    this.#heir = undefined;
  }

  #start(delay: number): void {
    this.#after(delay, () => {
      this.#waiting = false;
      if (this.#resumable) this.#session = this.#watch(false, 'start');
      else if (this.#options.api.streamsLists) this.#session = this.#watch(true, 'start');
      else this.#plainList();
    });
  }

  /** Makes a request after a delay, and as soon as the pace allows. */
  #after(delay: number, request: () => void): void {
    // Whoever was told of an error may have closed this.
    if (this.#closed) return;
    const { clock, pace } = this.#options;
    this.#cancelStart?.();
    this.#cancelStart = undefined;
    const start = (): void => {
      const wait = pace.take();
      if (wait === 0) request();
      else this.#cancelStart = clock.schedule(wait, request);
    };
    if (delay > 0) this.#cancelStart = clock.schedule(delay, start);
    else start();
  }

  #path(parameters: Readonly<Record<string, string>>): string {
    return `${this.#collection.path}?${this.#collection.selector}&${new URLSearchParams(parameters)}`;
  }

  #plainList(): void {
    const { api, clock } = this.#options;
    const over = (): void => {
      cancel();
      this.#list = undefined;
    };
    const cancel = clock.schedule(listPatience, () => {
      this.#list?.close();
      over();
      this.#failed(
        new WatchError(
          `no list from the API server within ${listPatience / 1000} s`,
          'STEERSMAN_ERR_UNREACHABLE',
        ),
      );
    });
    const request = list(
      api,
      // At first any cached state will do, as in client-go; later nothing older than what is known.
      this.#path({ resourceVersion: this.#version === '' && !this.#synchronised ? '0' : this.#version }),
      (object) => this.#listener.read(object),
      (result) => {
        over();
        this.#replace(result.items, result.resourceVersion);
        this.#resumable = true;
        this.#start(0);
      },
      (error) => {
        over();
        this.#failed(error);
      },
    );
    this.#list = {
      close() {
        cancel();
        request.close();
      },
    };
  }

  /** A watch from the known version, or one that tells the state first: a streaming list. */
  #watch(initial: boolean, why: Reason): Session<T> {
    const { api, clock, random } = this.#options;
    const seconds = Math.round(lasting[0] + random() * (lasting[1] - lasting[0]));
    const path = this.#path({
      watch: '1',
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(seconds),
      ...(this.#version === '' ? {} : { resourceVersion: this.#version }),
      ...(initial ? { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' } : {}),
    });
    const session: Session<T> = new Session<T>(
      api,
      clock,
      {
        path,
        initial,
        lasting: seconds * 1000,
        silence: () => (api.multiplexed ? silence[1] : this.#silence),
      },
      {
        read: (object) => this.#listener.read(object),
        onInitial: (items, version) => this.#replace(items, version),
        onLive: () => {
          if (session === this.#heir) {
            this.#session?.close();
            this.#session = session;
            this.#heir = undefined;
            // The watch it follows has lived: trouble from now on is new.
            this.#backoff.reset();
          }
          this.#listener.onLive();
        },
        onEvent: (type, object, version) => this.#apply(session, type, object, version),
        onSettled: () => this.#listener.onSettled(),
        onSilence: () => {
          if (session !== this.#session) return;
          this.#silence = Math.min(silence[1], this.#silence * 2);
          this.#renew('doubt');
        },
        onEnd: (end) => {
          if (session === this.#heir) this.#heirEnded(why, end);
          else this.#ended(end);
        },
      },
    );
    return session;
  }

  /** Asks for the watch that is to follow; the running one goes on until it is answered. */
  #renew(why: Reason): void {
    if (this.#closed || this.#session?.live !== true || this.#heir !== undefined) return;
    this.#retold.clear();
    this.#heir = this.#watch(false, why);
  }

  #replace(items: readonly T[], version: string): void {
    this.#version = version;
    this.#synchronised = true;
    this.#listener.onReplace(items);
    this.#listener.onSettled();
  }

  #apply(session: Session<T>, type: string, object: unknown, version: string): void {
    if (this.#heir !== undefined) this.#retold.add(version);
    else if (this.#retold.delete(version)) return;
    this.#version = version;
    this.#backoff.reset();
    this.#silence = silence[0];
    if (session !== this.#session) return;
    if (type === 'ADDED' || type === 'MODIFIED') this.#listener.onUpsert(this.#listener.read(object));
    else if (type === 'DELETED') this.#listener.onDelete(this.#listener.read(object));
  }

  #ended({ error, told, lived, notStreaming }: SessionEnd): void {
    this.#session = undefined;
    if (lived >= healthyAfter) this.#backoff.reset();
    if (this.#heir !== undefined) {
      this.#session = this.#heir;
      this.#heir = undefined;
      return;
    }
    if (notStreaming) {
      this.#options.api.streamsLists = false;
      this.#start(0);
    } else if (error !== undefined) {
      this.#failed(error);
    } else if (lived < veryShort && !told) {
      this.#failed(
        new WatchError('the API server ended the watch as soon as it had begun', 'STEERSMAN_ERR_UNREACHABLE'),
      );
    } else {
      // A watch from a version the server has not reached is silent, so after one that told nothing a list makes sure.
      this.#resumable = told;
      this.#start(0);
    }
  }

  #heirEnded(why: Reason, { error }: SessionEnd): void {
    this.#heir = undefined;
    if (error === undefined) return;
    const lost = error.code === 'STEERSMAN_ERR_UNREACHABLE' || error.status === 410;
    if (lost && why === 'doubt') this.#failed(error);
    // A server that shuts down, or refuses newcomers, may still serve whom it has; or it may not.
    else this.#after(this.#backoff.next(error), () => this.#renew(why));
  }

  /** Tells what went wrong; tries again, later and later. */
  #failed(error: WatchError): void {
    this.#stop();
    const tooOld = error.status === 410;
    const tooLarge = error.status === 504 && /too large resource version/i.test(error.message);
    // The server has not reached our version, or was restored to before it, or cannot even list what is not older, or
    // cannot read it: only a list of its latest state tells.
    if (tooLarge || ((tooOld || error.status === 400) && !this.#resumable)) this.#version = '';
    this.#resumable = false;
    // Neither says that anything is wrong: history ends some time.
    if (!tooLarge && !tooOld) this.#listener.onError(error);
    this.#waiting = error.code === 'STEERSMAN_ERR_UNREACHABLE';
    this.#start(this.#backoff.next(error));
  }
}
