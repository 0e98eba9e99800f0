import { AsyncResource } from 'node:async_hooks';
import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Backend } from '../core/backend.ts';
import type { PickRequest } from '../core/balancer.ts';
import { type Cancel, holdProcess } from '../core/clock.ts';
import { DeadlineError, isError } from '../core/errors.ts';
import { isFailure } from '../core/outcome.ts';
import { targetName } from '../core/target.ts';
import type { Verdict } from '../health/service-circuit.ts';
import { errors } from '../undici/index.ts';
import { Attempt, FurtherAttempt } from './attempt.ts';
import type { LiveBackend } from './backend.ts';
import { StreamedBody } from './body.ts';
import type { Due } from './deadlines.ts';
import {
  codeOf,
  failureClass,
  headerValue,
  isIdempotentMethod,
  isRequestError,
  isShortage,
  retryAfter,
  withHeader,
} from './failure.ts';
import { kept } from './kept-options.ts';
import { outgoing } from './outgoing.ts';
import { type Recoverable, Recovery } from './recovery.ts';
import type { Service } from './service.ts';
import { saysOfService, withAttempts } from './told-error.ts';

/** What a call may say besides what undici knows. */
export interface CallOptions {
  /** Calls with equal keys go to the same endpoint, for balancers that hash. */
  readonly hashKey?: string;
  /** Whether the call may run twice, whatever its method. @default by the method, or an `Idempotency-Key` header */
  readonly idempotent?: boolean;
}

export type CallDispatchOptions = Dispatcher.DispatchOptions & CallOptions;

type RawHeaders = Buffer[] | string[] | IncomingHttpHeaders | null;

/** Tells the endpoint how many attempts there were before that may have reached one. */
const retryHeader = 'x-retry-attempt';
const nobody: Dispatcher.DispatchHandler = {};

/**
 * What the caller made: the attempts, their deadline, and the one answer that comes of them. It stands between the
 * caller's handler, for which it is the controller, and the attempts, which report to it.
 */
export class Call extends Attempt implements Dispatcher.DispatchController, PickRequest, Recoverable, Due {
  handler: Dispatcher.DispatchHandler;
  readonly #service: Service;
  #options: CallDispatchOptions;
  readonly #body: StreamedBody | undefined;
  /** The caller's async context, in which every attempt begins: tracing looks there, and balancers may. */
  readonly #context = new AsyncResource('steersman.Call');
  /** Answers the call; nothing is retried from then on. */
  #winner: Attempt | undefined;
  #latest: Attempt | undefined;
  /** The first of two attempts that are out at the same time. */
  #rival: Attempt | undefined;
  #done = false;
  #paused = false;
  /** Since an attempt failed. */
  #recovery: Recovery | undefined;
  /** What the circuit of the service wants to know. */
  #verdict: ((verdict: Verdict) => void) | undefined;
  #stopWaiting: Cancel | undefined;
  #attemptDue = Number.POSITIVE_INFINITY;
  #hedgeDue = Number.POSITIVE_INFINITY;
  #resolveDue = Number.POSITIVE_INFINITY;
  /** Our own event loop was blocked when something of the latest attempt was due. */
  #stalled = false;
  /** ms of the total that were given back for it. */
  #excused = 0;

  tried?: ReadonlySet<Backend>;
  readonly hashKey?: string;
  aborted = false;
  reason: Error | null = null;
  totalDue: number = Number.POSITIVE_INFINITY;
  due: number = Number.POSITIVE_INFINITY;
  slot = -1;
  previous: Due | undefined;
  next: Due | undefined;

  constructor(service: Service, options: CallDispatchOptions, handler: Dispatcher.DispatchHandler) {
    super();
    this.#service = service;
    this.#options = options;
    this.handler = handler;
    // Numbers too: in JavaScript many an id is one.
    if (options.hashKey != null) this.hashKey = String(options.hashKey);
    this.#body = options.body == null ? undefined : StreamedBody.of(options.body, service.settings.bodyLimit);
  }

  /** Of itself as an attempt. */
  get call(): this {
    return this;
  }

  start(): void {
    const { settings } = this.#service;
    try {
      // At once, so that the caller can abort whatever comes first: resolving, connecting or waiting.
      this.handler.onRequestStart?.(this, null);
    } catch (error) {
      this.fail(error);
    }
    if (this.#done) return;
    const admitted = this.#service.admit();
    if (admitted instanceof Error) {
      this.fail(admitted);
      return;
    }
    this.#verdict = admitted;
    const now = this.now();
    this.#service.budget.deposit(now);
    this.totalDue = now + settings.total;
    if (this.#service.resolved) {
      this.#arm();
      this.#attempt(now);
    } else {
      this.#options = kept(this.#options);
      this.#resolveDue = now + settings.resolve;
      this.#arm();
      this.#stopWaiting = this.#wait();
    }
  }

  now(): number {
    return this.#service.clock.now();
  }

  schedule(delay: number, callback: () => void): Cancel {
    return this.#service.clock.schedule(delay, callback);
  }

  /** The first set is here. */
  resolved(): void {
    this.#stopWaiting?.();
    this.#stopWaiting = undefined;
    this.#resolveDue = Number.POSITIVE_INFINITY;
    this.#arm();
    this.attempt();
  }

  /** Another attempt, or the first one after the first set has come. */
  attempt(): void {
    // The caller may have aborted in the same breath in which the last one failed.
    if (this.#done) this.#recovery?.settle();
    else this.#context.runInAsyncScope(this.#attempt, this);
  }

  #attempt(now: number = this.now()): void {
    if (this.#body?.failed) {
      this.spoil(this.#body.error);
      return;
    }
    const backend = this.#service.pick(this, this.#recovery?.stranded);
    if (backend instanceof Error) this.#next(this.#recovery?.lastError ?? backend, undefined);
    else this.#send(backend, now);
  }

  #send(backend: LiveBackend, now: number = this.now()): void {
    const service = this.#service;
    const { settings } = service;
    const attempt = this.#latest === undefined ? this : new FurtherAttempt(this);
    attempt.started = now;
    attempt.begin(backend, service);
    this.#latest = attempt;
    this.#stalled = false;
    backend.calls++;
    if (settings.attempt !== Number.POSITIVE_INFINITY || settings.hedge !== false) {
      // Of two that are out the first is due first.
      if (this.#rival === undefined) this.#attemptDue = now + settings.attempt;
      if (settings.hedge !== false && this.#rival === undefined && this.#body === undefined) {
        this.#hedgeDue = this.repeatable ? now + service.hedgeDelay(now) : Number.POSITIVE_INFINITY;
      }
      this.#arm();
    }
    let options = outgoing(this.#options, service.identity, this.#body);
    if (settings.deadlineHeader !== undefined && this.totalDue !== Number.POSITIVE_INFINITY) {
      const left = Math.floor(Math.min(this.totalDue - now, settings.attempt));
      options = {
        ...options,
        headers: withHeader(options.headers ?? null, settings.deadlineHeader, String(left)),
      };
    }
    const seen = this.#recovery?.seen ?? 0;
    if (seen > 0) {
      options = { ...options, headers: withHeader(options.headers ?? null, retryHeader, String(seen)) };
    }
    try {
      backend.dispatcher.dispatch(options, attempt);
    } catch (error) {
      attempt.onResponseError(null, isError(error) ? error : new Error(String(error)));
    }
  }

  // What attempts report.

  /** So many attempts more, or less, wait for a connection. */
  waiting(change: number): void {
    this.#service.connecting += change;
  }

  informed(attempt: Attempt, status: number, headers: IncomingHttpHeaders, statusText?: string): void {
    if (attempt === this.#latest) this.handler.onResponseStart?.(this, status, headers, statusText);
  }

  answered(attempt: Attempt, status: number, headers: IncomingHttpHeaders, statusText?: string): void {
    this.#service.measured(attempt.latency);
    if (this.#service.settings.statuses.has(status) && this.#retryStatus(attempt, status, headers)) return;
    this.#commit(attempt);
    this.handler.onResponseStart?.(this, status, headers, statusText);
  }

  upgraded(attempt: Attempt, status: number, headers: IncomingHttpHeaders, socket: Duplex): void {
    this.#commit(attempt);
    this.#done = true;
    this.#service.upgrades.add(socket);
    this.handler.onRequestUpgrade?.(this, status, headers, socket);
  }

  received(chunk: Buffer): void {
    this.handler.onResponseData?.(this, chunk);
  }

  completed(trailers: IncomingHttpHeaders): void {
    this.#done = true;
    const handler = this.#leave();
    try {
      handler.onResponseEnd?.(this, trailers);
    } catch (error) {
      // As undici does, whose retry interceptor relies on it.
      handler.onResponseError?.(this, error as Error);
    }
  }

  failed(attempt: Attempt, error: Error): void {
    const { latency } = attempt;
    if (this.#body?.failed || isRequestError(error)) {
      attempt.release({ kind: 'cancelled' });
      this.spoil(this.#body?.failed ? this.#body.error : error);
    } else if (attempt === this.#winner) {
      attempt.release({ kind: 'error', error, sent: true, latency });
      this.#recover().note(attempt, 'committed', codeOf(error));
      this.fail(error);
    } else {
      const sent = attempt.phase !== 'unsent';
      attempt.release({ kind: 'error', error, sent, latency }, isShortage(error));
      this.#lost(attempt, error);
    }
  }

  // Retrying.

  get replayable(): boolean {
    return this.#body?.replayable ?? true;
  }

  get repeatable(): boolean {
    const { idempotent, method, headers } = this.#options;
    if (typeof idempotent === 'boolean') return idempotent;
    return (
      isIdempotentMethod(method) ||
      headerValue(headers, 'idempotency-key') !== undefined ||
      headerValue(headers, 'x-idempotency-key') !== undefined
    );
  }

  backoff(delay: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = this.#wait();
      const stop = (): void => {
        cancel();
        leave();
        this.#stopWaiting = undefined;
      };
      const cancel = this.#service.clock.schedule(delay, () => {
        stop();
        resolve();
      });
      this.#stopWaiting = () => {
        stop();
        reject(this.reason ?? new errors.RequestAbortedError());
      };
    });
  }

  /** In no endpoint's hands: `close()` finds it among the waiting, and the process lives on for it. */
  #wait(): Cancel {
    const release = holdProcess();
    const leave = this.#service.wait(this);
    return () => {
      leave();
      release();
    };
  }

  /** Ends the call by something of the caller's own, which says nothing of the service. */
  spoil(error: unknown): void {
    this.#judge('neutral');
    this.#abandonAll({ error: error as Error, blameless: false });
    this.fail(error);
  }

  /** Ends the call, unless it has ended. */
  fail(error: unknown): void {
    if (this.#done) return;
    this.#end();
    this.#judge(this.aborted || !saysOfService(error) ? 'neutral' : 'failure');
    this.#recovery?.settle();
    const { reports = [] } = this.#recovery ?? {};
    // The reason of an abort is the caller's, and may be anything.
    const told =
      reports.length === 0 || this.aborted || !isError(error) ? error : withAttempts(error, reports);
    this.#leave().onResponseError?.(this, told as Error);
    // Behind the caller, who may destroy it with the error.
    this.#body?.discard();
  }

  /**
   * Lets go of the caller's handler, to which nothing comes any more. It knows this call as its controller, and such
   * a ring, once a part of it is old, is not collected with the young: that cost a tenth of a call.
   */
  #leave(): Dispatcher.DispatchHandler {
    const { handler } = this;
    this.handler = nobody;
    return handler;
  }

  /** An attempt came to nothing, and its lease has ended. */
  #lost(attempt: Attempt, error: Error): void {
    const failure = failureClass(attempt, error);
    const recovery = this.#recover();
    recovery.note(attempt, failure, codeOf(error));
    if (failure === 'unsent') this.#service.connectFailed();
    recovery.lastError = error;
    this.tried = recovery.avoid(attempt.backend, failure);
    if (this.#dropRival(attempt)) return;
    this.#next(error, recovery.plan(failure, undefined));
  }

  /** Whether the answer is discarded for another attempt. */
  #retryStatus(attempt: Attempt, status: number, headers: IncomingHttpHeaders): boolean {
    const rivalled = this.#rival !== undefined;
    const recovery = this.#recover();
    this.tried = recovery.avoid(attempt.backend, 'ambiguous');
    let delay: number | undefined = 0;
    if (!rivalled) {
      const after = retryAfter(headerValue(headers, 'retry-after'), this.#service.wallClock());
      // A refusal to be retried, as gRPC's pushback: linkerd and others send it with a 503.
      const refused = headerValue(headers, 'x-no-retry') !== undefined;
      delay = refused ? undefined : recovery.plan('ambiguous', after);
    }
    if (delay === undefined) return false;
    recovery.note(attempt, 'ambiguous', String(status));
    attempt.abandon({ kind: 'response', status, latency: attempt.latency });
    if (!this.#dropRival(attempt)) this.#next(new Error(`status ${status}`), delay);
    return true;
  }

  /** No attempt is out any more. */
  #next(error: Error, delay: number | undefined): void {
    this.#attemptDue = this.#hedgeDue = Number.POSITIVE_INFINITY;
    if (this.#recovery === undefined) this.fail(error);
    else this.#recovery.lost(error, delay);
  }

  /** Of two attempts that are out one is lost; true when the other goes on. */
  #dropRival(lost: Attempt): boolean {
    const rival = this.#rival;
    if (rival === undefined) return false;
    this.#rival = undefined;
    const left = lost === rival ? (this.#latest as Attempt) : rival;
    this.#latest = left;
    this.#attemptDue = left.started + this.#service.settings.attempt;
    this.#arm();
    return true;
  }

  #hedge(): void {
    const service = this.#service;
    this.#hedgeDue = Number.POSITIVE_INFINITY;
    const first = this.#latest;
    if (first === undefined || service.size < 2 || service.settings.hedge === false) {
      this.#arm();
      return;
    }
    const tried = new Set([...(this.tried ?? []), first.backend]);
    const second = service.pick({ ...(this.hashKey === undefined ? {} : { hashKey: this.hashKey }), tried });
    // The same endpoint again would only be asked twice.
    const useless = second instanceof Error || second === first.backend;
    if (useless || !service.budget.withdraw(this.now())) {
      this.#arm();
      return;
    }
    this.tried = tried;
    this.#rival = first;
    service.retries++;
    this.#send(second);
    this.#arm();
  }

  #recover(): Recovery {
    this.#recovery ??= new Recovery(this, this.#service);
    return this.#recovery;
  }

  #commit(attempt: Attempt): void {
    this.#winner = attempt;
    this.#judge(isFailure({ kind: 'response', status: attempt.status, latency: 0 }) ? 'failure' : 'success');
    this.#service.deadlines.remove(this);
    this.#recovery?.settle();
    const loser = attempt === this.#latest ? this.#rival : this.#latest;
    // Noted too, as what it has taken so far: the slow ones are those that lose.
    if (loser !== undefined) this.#service.measured(this.now() - loser.started);
    loser?.abandon({ kind: 'cancelled' }, new errors.RequestAbortedError('another attempt answered first'));
    if (this.#paused) attempt.controller?.pause();
  }

  /** What the circuit of the service hears: the first thing that can be said. */
  #judge(verdict: Verdict): void {
    this.#verdict?.(verdict);
    this.#verdict = undefined;
  }

  #end(): void {
    this.#done = true;
    const { deadlines, closed } = this.#service;
    deadlines.remove(this);
    // Between two attempts it may outlive everything else.
    if (closed) deadlines.rest();
    this.#stopWaiting?.();
    this.#stopWaiting = undefined;
  }

  // Time.

  #arm(): void {
    const { deadlines } = this.#service;
    deadlines.remove(this);
    if (this.#done || this.#winner !== undefined) return;
    this.due = Math.min(this.totalDue, this.#attemptDue, this.#hedgeDue, this.#resolveDue);
    deadlines.add(this);
  }

  expire(late: number): void {
    const now = this.now();
    if (this.#done || this.#winner !== undefined) return;
    if (late > 0 && !this.#stalled) {
      this.#excuse(now, late);
      return;
    }
    if (now >= this.totalDue) this.#exceeded();
    else if (now >= this.#resolveDue) this.fail(this.#service.unresolved());
    else if (now >= this.#attemptDue) this.#timedOut();
    else if (now >= this.#hedgeDue) this.#context.runInAsyncScope(this.#hedge, this);
    else this.#arm();
  }

  /**
   * Our own loop was blocked for `late` ms, and what has come meanwhile has been handled. What had not even been sent
   * gets that time back, once per attempt, and no endpoint is to blame for what becomes of it; the call gets it back
   * too, at most doubled, or there would be none left for another attempt.
   */
  #excuse(now: number, late: number): void {
    const { total, attempt, resolve } = this.#service.settings;
    const back = Math.min(late, total - this.#excused);
    this.#stalled = true;
    this.#excused += back;
    this.totalDue = Math.max(this.totalDue, now) + back;
    if (this.#attemptDue <= now) this.#attemptDue = now + Math.min(late, attempt);
    if (this.#resolveDue <= now) this.#resolveDue = now + Math.min(late, resolve);
    this.#arm();
  }

  /** The deadline of the whole call. Balancers learn that the backend was slow; its circuit does not count it. */
  #exceeded(): void {
    const { target, settings } = this.#service;
    const cause = this.#latest === undefined ? this.#service.lastError : undefined;
    for (const attempt of [this.#rival, this.#latest]) {
      if (attempt === undefined || attempt.released) continue;
      attempt.latency = this.now() - attempt.started;
      this.#recover().note(attempt, failureClass(attempt, new Error()), 'STEERSMAN_ERR_DEADLINE');
    }
    const error = new DeadlineError(
      `deadline of ${settings.total} ms exceeded calling ${targetName(target)}`,
      target,
      {
        cause,
        attempts: this.#recovery?.reports ?? [],
      },
    );
    this.#abandonAll({ error, blameless: true });
    this.fail(error);
  }

  #timedOut(): void {
    const attempt = this.#rival ?? this.#latest;
    this.#attemptDue = Number.POSITIVE_INFINITY;
    if (attempt === undefined || attempt.released) {
      this.#arm();
      return;
    }
    attempt.latency = this.now() - attempt.started;
    const error = new errors.HeadersTimeoutError(
      `no response from ${attempt.backend.label} in ${this.#service.settings.attempt} ms`,
    );
    const { phase, latency } = attempt;
    attempt.abandon({ kind: 'error', error, sent: phase !== 'unsent', latency }, error, this.#stalled);
    this.#lost(attempt, error);
    this.#arm();
  }

  #abandonAll({ error, blameless }: { error: Error; blameless: boolean }): void {
    for (const attempt of [this.#rival, this.#latest]) {
      if (attempt === undefined || attempt.released) continue;
      const sent = attempt.phase !== 'unsent';
      const outcome = blameless
        ? { kind: 'error' as const, error, sent, latency: attempt.latency }
        : { kind: 'cancelled' as const };
      attempt.abandon(outcome, error, blameless);
    }
  }

  // The controller of the caller's handler.

  get paused(): boolean {
    return this.#paused;
  }

  get rawHeaders(): RawHeaders {
    return (this.#winner ?? this.#latest)?.controller?.rawHeaders ?? null;
  }

  get rawTrailers(): RawHeaders {
    return this.#winner?.controller?.rawTrailers ?? null;
  }

  abort(reason?: Error): void {
    if (this.aborted || this.#done) return;
    this.aborted = true;
    this.reason = reason ?? new errors.RequestAbortedError();
    if (this.#winner !== undefined) {
      this.#winner.controller?.abort(this.reason);
      return;
    }
    this.#abandonAll({ error: this.reason, blameless: false });
    this.fail(this.reason);
  }

  pause(): void {
    this.#paused = true;
    this.#winner?.controller?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#winner?.controller?.resume();
  }
}
