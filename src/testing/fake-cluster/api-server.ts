import type { IncomingMessage, ServerResponse } from 'node:http';
import { type AnswerSettings, answer, describe, servedResource } from './answer.ts';
import { type Cut, cutConnection, EventStream } from './event-stream.ts';
import { type ApiRecord, Exchange } from './exchange.ts';
import { type ApiFailure, Failures } from './failures.ts';
import { ApiListener, type ApiTls } from './listener.ts';
import { allows, everything, type Rule } from './rbac.ts';
import { type ApiRequest, parseRequest } from './request.ts';
import type { Resource } from './resources.ts';
import { forbidden, unauthorized } from './status.ts';
import { checkWatch, serveWatch } from './watching.ts';

export interface ApiSettings extends AnswerSettings {
  readonly tls: ApiTls | undefined;
  /** What callers without a token may do. */
  readonly anonymous: readonly Rule[];
}

/** Whom the cluster's token stands for, and whom none does. */
const user = 'system:serviceaccount:default:app';
const anonymousUser = 'system:anonymous';

/** Enough for a long test; a soak test must not grow without end. */
const maxRecords = 100_000;

/** The API server of a `FakeCluster`: what it answers, what it was asked, and the trouble it can make. */
export class FakeApi {
  /** What callers with the cluster's token may do; everything unless set. Looked at when a request begins. */
  rules: readonly Rule[] = everything;
  /**
   * Splits what a watch sends into HTTP chunks of this many bytes, sent apart from one another; undefined, as it
   * is unless set: one chunk per event.
   */
  chunkSize: number | undefined;
  readonly #settings: ApiSettings;
  readonly #listener: ApiListener;
  readonly #streams = new Set<EventStream>();
  readonly #records: ApiRecord[] = [];
  readonly #failures = new Failures();
  #token: string;
  #stalled: PromiseWithResolvers<void> | undefined;

  constructor(settings: ApiSettings, token: string) {
    this.#settings = settings;
    this.#token = token;
    this.#listener = new ApiListener(settings.tls, (request, response) => {
      void this.#serve(request, response);
    });
  }

  /** Requests so far, oldest first. */
  get requests(): readonly ApiRecord[] {
    return this.#records;
  }

  /** Watches that are open now. */
  get watches(): number {
    return this.#streams.size;
  }

  get url(): string {
    return this.#listener.url;
  }

  /** Makes the next requests fail. */
  fail(failure: ApiFailure): void {
    this.#failures.add(failure);
  }

  /** Forgets the past: every resourceVersion handed out so far is too old to watch from (410). */
  expire(): void {
    this.#settings.store.touch();
    this.#settings.store.compact();
  }

  /** Cuts the open watches. Callers may come back at once. */
  disconnect(how: Cut = 'reset'): void {
    for (const stream of [...this.#streams]) stream.cut(how);
  }

  /** Freezes the server until `up()`: connections are taken and kept, nothing is answered. */
  stall(): void {
    this.#stalled ??= Promise.withResolvers();
    for (const stream of this.#streams) stream.pause();
  }

  /** Stops the server until `up()`: open connections are reset, new ones refused. */
  down(): Promise<void> {
    return this.#listener.stop();
  }

  /**
   * Ends what `down`, `stall` and `fail` began. A server that was down has started anew: what changed before
   * cannot be watched any more, as after a real restart.
   */
  async up(): Promise<void> {
    this.#failures.clear();
    this.#stalled?.resolve();
    this.#stalled = undefined;
    for (const stream of this.#streams) stream.resume();
    if (this.#listener.listening) return;
    this.#settings.store.compact();
    await this.#listener.listen();
  }

  /** Used by the cluster. Begins to listen. */
  listen(): Promise<void> {
    return this.#listener.listen();
  }

  /** Used by the cluster. Makes this the only token that is known. */
  accept(token: string): void {
    this.#token = token;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = request.method ?? 'GET';
    const url = urlOf(request.url);
    const asked = url && parseRequest(method, url);
    const caller = this.#caller(request);
    const record: ApiRecord = {
      at: this.#settings.clock.now(),
      method,
      path: url?.pathname ?? request.url ?? '',
      query: Object.fromEntries(url?.searchParams ?? []),
      verb: asked?.verb,
      resource: asked?.plural,
      group: asked?.group,
      namespace: asked?.namespace,
      name: asked?.name,
      user: caller,
      status: 0,
    };
    this.#records.push(record);
    if (this.#records.length > maxRecords) this.#records.shift();
    const exchange = new Exchange(request, response, asked, record, this.#settings.random);
    try {
      const body = await exchange.body();
      await this.#stalled?.promise;
      const failure = this.#failures.take(asked?.verb, asked?.plural);
      if (failure === 'hang') return;
      if (failure === 'reset' || failure === 'close') return cutConnection(response, failure);
      if (failure !== undefined && failure.code !== 403) throw failure;
      if (caller === undefined) throw unauthorized();
      if (asked === undefined) return describe(exchange, url);
      const rules = caller === user ? this.rules : this.#settings.anonymous;
      if (failure !== undefined || !allows(rules, asked)) throw forbidden(caller, asked);
      const resource = servedResource(exchange, asked);
      if (asked.verb === 'watch') await this.#watch(exchange, asked, resource);
      else await answer(this.#settings, exchange, asked, resource, body);
    } catch (error) {
      // A caller that has gone away meanwhile is no one to tell.
      exchange.refuse(error);
    }
  }

  #caller(request: IncomingMessage): string | undefined {
    const { authorization } = request.headers;
    if (authorization === undefined) return anonymousUser;
    return authorization === `Bearer ${this.#token}` ? user : undefined;
  }

  async #watch(exchange: Exchange, asked: ApiRequest, resource: Resource): Promise<void> {
    checkWatch(asked);
    exchange.open();
    const { response, closed } = exchange;
    const stream = new EventStream(response, () => this.chunkSize, this.#stalled !== undefined);
    this.#streams.add(stream);
    closed.addEventListener('abort', () => this.#streams.delete(stream));
    await serveWatch(this.#settings, asked, resource, stream, closed);
  }
}

/** undefined for a path that is none, such as `//` or a broken escape. */
function urlOf(path = '/'): URL | undefined {
  try {
    const url = new URL(`http://api${path}`);
    decodeURIComponent(url.pathname);
    return url;
  } catch {
    return undefined;
  }
}
