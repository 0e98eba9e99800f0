import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Cancel } from '../core/clock.ts';
import type { Attempt as AttemptReport, FailureClass, Phase } from '../core/errors.ts';
import type { Outcome } from '../core/outcome.ts';
import type { LiveBackend } from './backend.ts';
import type { Call } from './call.ts';
import { type Judge, Lease } from './lease.ts';

/** Discarded responses up to this size are read to their end, so that their connection can be used again. */
const drainLimit = 128 * 1024;
/** ms that reading a discarded response may take: longer than a new connection costs is not worth it. */
const drainTime = 1_000;

const discarded = new Error('response discarded: the call went on elsewhere');

/**
 * One try of a call at one backend: the handler that undici drives, what is known of how far it came, and a lease
 * that ends with it. The phase, not the error code, says whether the peer may have seen the request. A call is its
 * own first attempt, so that one which succeeds at once is a single object.
 */
export abstract class Attempt extends Lease implements Dispatcher.DispatchHandler {
  abstract readonly call: Call;
  /** ms of the clock; set before it begins */
  started = 0;
  phase: Phase = 'unsent';
  status = 0;
  /** ms from the start to the final response headers, or to the error. */
  latency = 0;
  controller: Dispatcher.DispatchController | undefined;
  /** Nothing it brings concerns the call any more. */
  #abandoned: Outcome | undefined;
  #drained = 0;
  #stopDrain: Cancel | undefined;
  /** Not yet at the endpoint: it waits for a connection. */
  #waiting = false;
  /** Set while the handler of the caller runs: what it throws is not the backend's fault. */
  #calling = false;

  override begin(backend: LiveBackend, judge: Judge): void {
    super.begin(backend, judge);
    this.#waiting = true;
    this.call.waiting(1);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // undici starts a request anew after an HTTP/2 GOAWAY or REFUSED_STREAM.
    this.controller = controller;
    this.#waited();
    // It waited for a connection too long. Thrown, so that undici writes nothing and keeps the connection, which
    // an abort would cost.
    if (this.#abandoned !== undefined) throw discarded;
    this.phase = 'sent';
  }

  onRequestUpgrade(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    socket: Duplex,
  ): void {
    this.controller = controller;
    if (this.#abandoned !== undefined) {
      socket.destroy();
      this.release(this.#abandoned);
      return;
    }
    this.phase = 'response';
    this.status = status;
    this.latency = this.call.now() - this.started;
    const outcome: Outcome = { kind: 'response', status, latency: this.latency };
    this.decide(status);
    // An upgraded connection is in use until it closes.
    socket.once('close', () => this.release(outcome));
    this.call.upgraded(this, status, headers, socket);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    statusText?: string,
  ): void {
    this.controller = controller;
    if (this.#abandoned !== undefined) return;
    if (status < 200) {
      this.#calling = true;
      this.call.informed(this, status, headers, statusText);
      this.#calling = false;
      return;
    }
    this.phase = 'response';
    this.status = status;
    this.latency = this.call.now() - this.started;
    this.decide(status);
    this.#calling = true;
    this.call.answered(this, status, headers, statusText);
    this.#calling = false;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#abandoned !== undefined) {
      this.#drained += chunk.byteLength;
      if (this.#drained > drainLimit) controller.abort(discarded);
      return;
    }
    this.#calling = true;
    this.call.received(chunk);
    this.#calling = false;
  }

  onResponseEnd(controller: Dispatcher.DispatchController, trailers: IncomingHttpHeaders): void {
    this.controller = controller;
    if (this.#abandoned !== undefined) {
      this.#drainEnded(this.#abandoned);
      return;
    }
    this.release({ kind: 'response', status: this.status, latency: this.latency });
    this.call.completed(trailers);
    // It knows this attempt as its handler: see the end of a call.
    this.controller = undefined;
  }

  onResponseError(controller: Dispatcher.DispatchController | null, error: Error): void {
    if (controller !== null) this.controller = controller;
    if (this.#abandoned !== undefined) {
      this.#drainEnded(this.#abandoned);
      return;
    }
    if (this.phase !== 'response') this.latency = this.call.now() - this.started;
    if (this.#calling || this.call.aborted) {
      this.release({ kind: 'cancelled' });
      this.call.spoil(error);
    } else {
      this.call.failed(this, error);
    }
    this.controller = undefined;
  }

  onResponseStarted(): void {
    if (this.#abandoned === undefined) this.call.handler.onResponseStarted?.();
  }

  onBodySent(chunk: Buffer): void {
    if (this.#abandoned === undefined) this.call.handler.onBodySent?.(chunk);
  }

  onRequestSent(): void {
    if (this.#abandoned === undefined) this.call.handler.onRequestSent?.();
  }

  /**
   * The call has no more use for this attempt. Without a reason its response is drained and the lease ends with
   * it; with one, the attempt is cut short and the lease ends now.
   */
  abandon(outcome: Outcome, reason?: Error, blameless = false): void {
    if (this.#abandoned !== undefined) return;
    this.#abandoned = outcome;
    if (reason === undefined) {
      this.#stopDrain = this.call.schedule(drainTime, () => this.controller?.abort(discarded));
      return;
    }
    this.release(outcome, blameless);
    this.controller?.abort(reason);
  }

  override release(outcome: Outcome, blameless = false): void {
    this.#waited();
    super.release(outcome, blameless);
  }

  #waited(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.call.waiting(-1);
  }

  #drainEnded(outcome: Outcome): void {
    this.#stopDrain?.();
    this.release(outcome);
  }

  /** What errors say of this attempt. */
  report(failure: FailureClass, code: string): AttemptReport {
    return {
      endpoint: this.backend.label,
      phase: this.phase,
      class: failure,
      code,
      ms: Math.round(this.latency),
    };
  }
}

/** An attempt after the first, or beside it. */
export class FurtherAttempt extends Attempt {
  readonly call: Call;

  constructor(call: Call) {
    super();
    this.call = call;
  }
}
