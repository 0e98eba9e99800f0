import { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { expect, it } from 'vitest';
import { consistentHash } from '../../src/balancers/consistent-hash.ts';
import { leastConnection } from '../../src/balancers/least-connection.ts';
import { random as randomly } from '../../src/balancers/random.ts';
import type { CallDispatchOptions } from '../../src/client/call.ts';
import type { ClientEvents } from '../../src/client/events.ts';
import { Lease } from '../../src/client/lease.ts';
import type { ServiceOptions } from '../../src/client/options.ts';
import type { Balancer } from '../../src/core/balancer.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { Caller, type Exchange, errno, inOrder, Script } from '../support/script.ts';

const histories = 3_000;
const steps = 60;
/** How much later than due a deadline may end a call, in ms. */
const tick = 8;

const unsentCodes = ['ECONNREFUSED', 'EHOSTUNREACH', 'UND_ERR_CONNECT_TIMEOUT', 'EMFILE'];
const statuses = [200, 204, 304, 429, 500, 502, 503, 503, 504];
const afters = [undefined, undefined, '0', '1', '3600', '-1', 'junk'];
const refusal = (): Error => Object.assign(errno('ERR_HTTP2_STREAM_ERROR'), { http2ErrorCode: 7 });

const bodies: Readonly<Record<string, () => unknown>> = {
  none: () => null,
  text: () => 'text',
  bytes: () => Buffer.from('bytes'),
  stream: async function* () {
    yield 'abc';
    yield 'def';
  },
  'a stream that throws': async function* () {
    yield 'abc';
    throw new Error('the body threw');
  },
};

/** The caller of one call, which minds that it is told one thing after the other, and the end once. */
class Told extends Caller {
  readonly id: number;
  readonly repeatable: boolean;
  readonly began: number;
  readonly total: number;
  readonly exchanges: Exchange[] = [];
  /** Attempts that an endpoint may have executed. */
  executed = 0;
  /** What comes of it is its own doing, or that of another caller's handler. */
  meddled = false;
  react: ((where: string) => void) | undefined;

  constructor(id: number, repeatable: boolean, began: number, total: number) {
    super();
    this.id = id;
    this.repeatable = repeatable;
    this.began = began;
    this.total = total;
  }

  get answered(): boolean {
    return this.ends > 0 || this.status !== undefined;
  }

  #hears(what: string, inOrder: boolean): void {
    if (!inOrder) throw new Error(`call ${this.id} hears of ${what} out of turn`);
  }

  override onRequestStart(controller: Dispatcher.DispatchController): void {
    super.onRequestStart(controller);
    this.react?.('start');
  }

  override onResponseStart(...[controller, status, headers]: Parameters<Caller['onResponseStart']>): void {
    this.#hears(`${status}`, !this.answered);
    super.onResponseStart(controller, status, headers);
    this.react?.('head');
  }

  override onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#hears('data', this.ends === 0 && this.status !== undefined);
    super.onResponseData(controller, chunk);
    this.react?.('data');
  }

  onRequestUpgrade(): void {
    this.#hears('an upgrade', !this.answered);
    this.ends++;
  }

  override onResponseEnd(): void {
    this.#hears('the end', this.ends === 0 && this.status !== undefined);
    super.onResponseEnd();
    this.react?.('end');
  }

  override onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    this.#hears('an error', this.ends === 0);
    super.onResponseError(controller, error);
    this.react?.('error');
  }
}

/** Everything that can happen to calls, at random; what must hold after each step is checked on the way. */
class History {
  readonly random: () => number;
  readonly script: Script;
  readonly callers: Told[] = [];
  readonly leases: Lease[] = [];
  readonly sockets: Duplex[] = [];
  readonly sent: Set<Exchange> = new Set();
  readonly headed: Set<Exchange> = new Set();
  readonly startedAt: Map<Exchange, number> = new Map();
  /** Those of which we were last told that they are ejected. */
  readonly ejected: Set<string> = new Set();
  options: ServiceOptions;
  updates = 0;
  heard = 0;
  settled = false;

  constructor(seed: number) {
    this.random = seeded(seed);
    this.options = this.someOptions();
    const size = this.below(7);
    const options = { ...this.options, balancer: this.someBalancer() };
    this.script = new Script(size === 6 ? undefined : size, options, seeded(seed + 1));
  }

  below(n: number): number {
    return Math.floor(this.random() * n);
  }

  one<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  someBalancer(): Balancer {
    const random = seeded(this.below(1_000));
    return this.one([inOrder, randomly({ random }), leastConnection({ random }), consistentHash({ random })]);
  }

  someOptions(): ServiceOptions {
    const endless = Number.POSITIVE_INFINITY;
    const budget = this.one([
      false as const,
      {},
      { ratio: 0.2, minPerSecond: 0.2 },
      { ratio: 0, minPerSecond: 0 },
    ]);
    const circuit = { consecutive: 1 + this.below(4), volume: 4, rate: 0.5, window: 1_000, ejection: 1_000 };
    return {
      timeout: {
        total: this.one([300, 2_000, endless]),
        attempt: this.one([endless, 100, 500]),
        resolve: this.one([200, 5_000]),
      },
      retry: this.one([false, { attempts: 1 + this.below(5), bodyLimit: this.one([4, 65_536]), budget }]),
      hedge: this.one([false, { delay: this.one([20, 80, 150]) }]),
      queue: { endpoint: this.one([0, 1, 100]), total: this.one([3, 10_000]) },
      pool: { connections: this.one([1, 2, endless]), drainTimeout: this.one([0, 500, 30_000]) },
      circuit: {
        endpoint: this.one([false, circuit, circuit, circuit]),
        service: this.one([false, false, { volume: 4, window: 1_000, reset: 500 }]),
      },
      panicThreshold: this.one([0, 0.5, 1]),
      slowStart: this.one([false, 1_000]),
    };
  }

  get running(): Exchange[] {
    return this.script.exchanges.filter(({ ended }) => !ended);
  }

  ownerOf({ options }: Exchange): Told {
    return this.callers[Number(options.path.slice(1))] as Told;
  }

  // What callers do.

  call(): void {
    const method = this.one(['GET', 'GET', 'HEAD', 'PUT', 'POST', 'PATCH'] as const);
    const mark = this.below(10);
    const options: Partial<CallDispatchOptions> = {
      method,
      path: `/${this.callers.length}`,
      ...(method === 'GET' || method === 'HEAD'
        ? {}
        : { body: bodies[this.one(Object.keys(bodies))]?.() as never }),
      ...(mark === 0 ? { idempotent: true } : {}),
      ...(mark === 1 ? { headers: { 'Idempotency-Key': 'x' } } : {}),
      ...(mark > 6 ? { hashKey: String(mark) } : {}),
    };
    const repeatable = mark < 2 || (method !== 'POST' && method !== 'PATCH');
    const total = this.options.timeout?.total as number;
    const told = new Told(this.callers.length, repeatable, this.script.clock.now(), total);
    if (this.below(5) === 0) this.meddle(told);
    this.callers.push(told);
    this.script.call(options, told);
  }

  abort(told: Told): void {
    told.meddled = true;
    told.controller?.abort(new Error('enough'));
    if (!told.answered) throw new Error(`call ${told.id} goes on though it was aborted`);
  }

  /** Has its handler do something of its own, once. */
  meddle(told: Told): void {
    const at = this.one(['start', 'head', 'data', 'end', 'error']);
    const others = (): void => {
      for (const other of this.callers) if (other !== told && other.ends === 0) this.abort(other);
    };
    const reactions = [
      () => told.controller?.abort(new Error('enough')),
      () => {
        if (at !== 'error' && at !== 'end') throw new Error('the handler threw');
      },
      () => this.call(),
      () => this.set(),
      () => this.act(),
      others,
    ];
    const reaction = this.one(reactions);
    told.react = (where) => {
      if (where !== at) return;
      told.react = undefined;
      for (const each of this.callers) each.meddled = true;
      told.meddled = true;
      reaction();
    };
  }

  // What endpoints do.

  act(): void {
    if (this.running.length === 0) return;
    const exchange = this.one(this.running);
    const dice = this.random();
    if (!this.sent.has(exchange)) {
      if (dice < 0.25) exchange.fail(errno(this.one(unsentCodes)));
      else this.send(exchange);
    } else if (this.headed.has(exchange)) {
      if (dice < 0.4) this.data(exchange);
      else if (dice < 0.6) exchange.fail(errno('ECONNRESET'));
      else exchange.end();
    } else if (dice < 0.02) {
      this.upgrade(exchange);
    } else if (dice < 0.1) {
      exchange.head(this.one([100, 102, 103]));
    } else if (dice < 0.3) {
      exchange.fail(errno('UND_ERR_SOCKET'));
    } else if (dice < 0.35) {
      this.ownerOf(exchange).executed--;
      exchange.fail(refusal());
    } else {
      const after = this.one(afters);
      this.headed.add(exchange);
      exchange.head(this.one(statuses), after === undefined ? {} : { 'retry-after': after });
    }
  }

  send(exchange: Exchange): void {
    const told = this.ownerOf(exchange);
    const late = told.ends > 0;
    exchange.send();
    if (exchange.ended) return;
    if (late) throw new Error(`call ${told.id} is sent after its end`);
    this.sent.add(exchange);
    told.executed++;
    const { body } = exchange.options;
    if (typeof body === 'object' && body !== null && Symbol.asyncIterator in body)
      void this.read(body as AsyncIterable<Uint8Array>, exchange);
  }

  /** All of it, the first piece, or nothing. */
  async read(body: AsyncIterable<Uint8Array>, exchange: Exchange): Promise<void> {
    const much = this.below(3);
    if (much === 0) return;
    try {
      for await (const _ of body) if (much === 1) await new Promise(() => {});
    } catch (error) {
      exchange.fail(error as Error);
    }
  }

  data(exchange: Exchange): void {
    try {
      exchange.data('piece');
    } catch (error) {
      // As undici does it.
      exchange.abort(error as Error);
    }
  }

  upgrade(exchange: Exchange): void {
    const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
    this.sockets.push(socket);
    exchange.ended = true;
    exchange.handler.onRequestUpgrade?.(exchange, 101, {}, socket);
  }

  // What happens around them.

  set(): void {
    const first = 1 + this.below(3);
    this.script.resolver.set(Array.from({ length: this.below(6) }, (_, i) => `10.0.0.${first + i}:80`));
  }

  lease(): void {
    const backend = this.script.service.pick({});
    if (backend instanceof Error) return;
    const lease = new Lease();
    lease.begin(backend, this.script.service);
    backend.calls++;
    this.leases.push(lease);
  }

  release(): void {
    const [lease] = this.leases.splice(this.below(this.leases.length), 1);
    const kind = this.one(['cancelled', 'response'] as const);
    lease?.release(kind === 'cancelled' ? { kind } : { kind, status: this.one(statuses), latency: 3 });
    this.sockets.shift()?.destroy();
  }

  update(): void {
    this.updates++;
    this.options = this.someOptions();
    this.script.update(this.options);
  }

  async step(mayUpdate: boolean): Promise<void> {
    const dice = this.random();
    const waiting = this.callers.filter(({ ends }) => ends === 0);
    if (dice < 0.2) this.call();
    else if (dice < 0.62) this.act();
    else if (dice < 0.66 && waiting.length > 0) this.abort(this.one(waiting));
    else if (dice < 0.7) this.set();
    else if (dice < 0.71) this.script.resolver.fail();
    else if (dice < 0.73) this.lease();
    else if (dice < 0.75) this.release();
    else if (dice < 0.77 && mayUpdate) this.update();
    else await this.script.clock.advance(this.one([1, 10, 30, 100, 400, 3_000]));
    // Much of what goes wrong does so between two steps of one promise.
    this.settled = this.below(2) === 0;
    if (this.settled) await this.script.settle();
  }

  // What must hold.

  check(): void {
    const { service, clock, exchanges } = this.script;
    for (let i = this.startedAt.size; i < exchanges.length; i++) {
      const exchange = exchanges[i] as Exchange;
      this.startedAt.set(exchange, clock.now());
      this.ownerOf(exchange).exchanges.push(exchange);
    }
    for (const told of this.callers) this.checkCall(told);
    const { retry } = this.options;
    const snapshot = service.snapshot();
    if (this.updates === 0 && retry && retry.budget && retry.budget.ratio === 0 && snapshot.retries > 0)
      throw new Error('it has retried without a budget');
    if (service.connecting < 0) throw new Error(`${service.connecting} calls are connecting`);
    for (const { inflight, calls, failures } of snapshot.endpoints)
      if (inflight < 0 || failures > calls)
        throw new Error(`${failures} failures of ${calls}, ${inflight} in flight`);
    this.hear();
    if (!this.settled) return;
    for (const { endpoint, state } of snapshot.endpoints)
      if (state !== 'draining' && (state === 'ejected') !== this.ejected.has(endpoint.id))
        throw new Error(`${endpoint.id} is ${state}, and the events say otherwise`);
  }

  checkCall(told: Told): void {
    const { id, error, exchanges } = told;
    const now = this.script.clock.now();
    if (!told.repeatable && told.executed > 1)
      throw new Error(`call ${id} was executed ${told.executed} times`);
    if (!told.answered && now - told.began > told.total + tick)
      throw new Error(`call ${id} outlives its deadline`);
    const out = exchanges.filter((each) => this.sent.has(each) && !this.headed.has(each) && !each.ended);
    if (!told.answered && out.length > 2) throw new Error(`call ${id} has ${out.length} attempts out`);
    if (this.updates === 0 && !told.answered) {
      const { retry, hedge, timeout } = this.options;
      const since = Math.min(now, ...out.map((each) => this.startedAt.get(each) as number));
      if (now - since > (timeout?.attempt as number) + tick)
        throw new Error(`an attempt of ${id} outlives its timeout`);
      // Three hops and one refusal come on top, and each may be hedged.
      const most = retry ? (retry.attempts as number) + 4 : 1;
      if (exchanges.length > (hedge ? 2 * most : most))
        throw new Error(`call ${id} made ${exchanges.length} attempts`);
    }
    if (error?.attempts === undefined || told.meddled) return;
    for (const { phase, endpoint } of error.attempts) {
      const asked = exchanges.filter((each) => `${each.endpoint.address}:${each.endpoint.port}` === endpoint);
      if (!asked.some((each) => this.sent.has(each) === (phase !== 'unsent')))
        throw new Error(`call ${id} tells of what was not`);
    }
    // The loser of two is not told of, nor what the caller's own body did.
    if (error.attempts.at(-1)?.class === 'committed' || error.message === 'the body threw') return;
    if (error.attempts.length !== exchanges.length)
      throw new Error(`call ${id} tells of ${error.attempts.length} attempts of ${exchanges.length}`);
  }

  /** The events so far. */
  hear(): void {
    for (const { event, data } of this.script.events.slice(this.heard)) {
      if (event === 'ejected' || event === 'restored') {
        const { id } = (data as ClientEvents['ejected']).endpoint;
        if (event === 'ejected') this.ejected.add(id);
        else if (!this.ejected.delete(id)) throw new Error(`${id} is restored, and was not ejected`);
      } else if (event === 'endpoints') {
        const { added, removed } = data as ClientEvents['endpoints'];
        for (const { id } of [...added, ...removed]) this.ejected.delete(id);
      } else if (
        event === 'error' &&
        !/the fake resolver fails/.test((data as ClientEvents['error']).error.message)
      ) {
        throw (data as ClientEvents['error']).error;
      }
    }
    this.heard = this.script.events.length;
  }

  /** Everything that is out is answered, sooner or later. */
  async answerAll(until: () => boolean): Promise<void> {
    for (let i = 0; i < 400 && !until(); i++) {
      for (const exchange of this.running) {
        if (this.below(3) === 0) continue;
        if (!this.sent.has(exchange)) this.send(exchange);
        if (exchange.ended) continue;
        if (!this.headed.has(exchange)) {
          this.headed.add(exchange);
          exchange.head(200);
        }
        exchange.end();
      }
      await this.script.clock.advance(100);
      this.check();
    }
    if (!until()) throw new Error('it never ends');
  }

  async end(): Promise<void> {
    const { script } = this;
    const { service, clock } = script;
    const how = this.below(3);
    const used = (): number => service.snapshot().endpoints.reduce((sum, { inflight }) => sum + inflight, 0);
    if (how === 0) {
      await this.answerAll(() => this.running.length === 0 && this.callers.every(({ ends }) => ends > 0));
      for (const lease of this.leases.splice(0)) lease.release({ kind: 'cancelled' });
      for (const socket of this.sockets.splice(0)) socket.destroy();
      await script.settle();
      await script.settle();
      expect([used(), service.connecting]).toEqual([0, 0]);
    } else if (how === 1) {
      service.destroy(new Error('destroyed'));
    }
    let closed = false;
    void service.close().then(() => {
      closed = true;
    });
    for (const lease of this.leases.splice(0)) lease.release({ kind: 'cancelled' });
    await script.settle();
    await this.answerAll(() => closed);
    // What is read of discarded answers has its time, too.
    await clock.advance(1_000);
    this.check();
    expect(this.callers.filter(({ ends, starts }) => ends !== 1 || starts > 1)).toEqual([]);
    expect(this.running).toEqual([]);
    expect([used(), service.connecting, clock.pending, script.resolver.watches]).toEqual([0, 0, 0, 0]);
  }
}

it(`calls hold what they promise, over ${histories} random histories`, { timeout: 120_000 }, async () => {
  let calls = 0;
  let attempts = 0;
  for (let seed = 0; seed < histories; seed++) {
    const history = new History(seed);
    try {
      for (let i = 0; i < steps; i++) {
        await history.step(seed % 2 === 0);
        history.check();
      }
      await history.end();
    } catch (error) {
      throw new Error(`history ${seed}: ${(error as Error).message}`, { cause: error });
    }
    calls += history.callers.length;
    attempts += history.script.exchanges.length;
  }
  console.log(`${histories} histories: ${calls} calls, ${attempts} attempts`);
  expect(attempts).toBeGreaterThan(calls);
});
