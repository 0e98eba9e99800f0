import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { type Clock, type Random, wait } from '../../core/clock.ts';
import { boolean, checkOptions, number, oneOf, type Shape } from '../../core/options.ts';
import { checkFailure, type PodFailure } from './pod-failure.ts';
import type { PodServer } from './pod-server.ts';

/** Answers the requests of a pod, after its latency and unless it fails. */
export type PodHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  pod: FakePod,
) => void | Promise<void>;

export interface Termination {
  /** ms before the process is told to stop: the preStop hook. 0 by default. */
  readonly preStop?: number;
  /** ms until the process is killed, preStop included. 30 000 by default, as in Kubernetes. */
  readonly grace?: number;
  /**
   * What the process does when told to stop: finish what it has begun and take nothing more, or exit on the spot,
   * as Node does without a handler for SIGTERM. `'drain'` by default.
   */
  readonly onStop?: 'drain' | 'exit';
}

export interface PodSettings {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly node: string;
  readonly zone: string;
  readonly handler: PodHandler;
  readonly latency: number | (() => number);
  readonly clock: Clock;
  readonly random: Random;
  readonly server: PodServer;
  /** Told of every change that endpoint controllers look at. */
  readonly onChange: () => void;
}

export const terminationShape: Shape = {
  preStop: number(0),
  grace: number(0),
  onStop: oneOf('drain', 'exit'),
};

/** The default of `terminationGracePeriodSeconds`. */
const defaultGrace = 30_000;

/** A pod: a real HTTP server on an address of its own. */
export class FakePod {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly node: string;
  readonly zone: string;
  /** ms until the handler runs, or a function that is asked for each request. */
  latency: number | (() => number);
  readonly #settings: PodSettings;
  readonly #gone = Promise.withResolvers<void>();
  /** Ends what waits for its time. */
  readonly #end = new AbortController();
  #failure: PodFailure | undefined;
  #ready = false;
  #phase: 'running' | 'terminating' | 'stopping' | 'gone' = 'running';
  #served = 0;
  #inflight = 0;

  constructor(settings: PodSettings) {
    this.#settings = settings;
    this.name = settings.name;
    this.namespace = settings.namespace;
    this.uid = settings.uid;
    this.labels = settings.labels;
    this.node = settings.node;
    this.zone = settings.zone;
    this.latency = settings.latency;
    settings.server.onRequest = (request, response) => void this.#serve(request, response);
  }

  get address(): string {
    return this.#settings.server.address;
  }

  /** Of the first port. */
  get port(): number {
    return this.ports.values().next().value ?? 0;
  }

  /** What the pod listens on, by the name of the Service's port; `unnamed` where it has none. */
  get ports(): ReadonlyMap<string, number> {
    return this.#settings.server.ports;
  }

  /** Answers given so far, of any status. */
  get served(): number {
    return this.#served;
  }

  /** Requests that have come and are not yet answered. */
  get inflight(): number {
    return this.#inflight;
  }

  /** Open connections. */
  get connections(): number {
    return this.#settings.server.connections;
  }

  /** `terminating` until told to stop, `stopping` until all is answered. */
  get phase(): 'running' | 'terminating' | 'stopping' | 'gone' {
    return this.#phase;
  }

  /** Whether the readiness probe passes. Setting it does not change how requests are answered. */
  get ready(): boolean {
    return this.#ready && this.#phase === 'running';
  }

  set ready(ready: boolean) {
    boolean(ready, 'ready');
    if (this.#ready === ready) return;
    this.#ready = ready;
    this.#settings.onChange();
  }

  /** Whether the probe passes, terminating or not: the `serving` condition. */
  get serving(): boolean {
    return this.#ready && (this.#phase === 'running' || this.#phase === 'terminating');
  }

  /** How requests fail; undefined when they do not. */
  get failure(): PodFailure | undefined {
    return this.#failure;
  }

  set failure(failure: PodFailure | undefined) {
    if (failure !== undefined) checkFailure(failure);
    const refused = this.#failure?.refuse === true;
    this.#failure = failure;
    if (this.#phase === 'gone' || refused === (failure?.refuse === true)) return;
    if (refused) this.#settings.server.resume();
    else this.#settings.server.crash();
  }

  /** Kills the process and removes the pod at once: connections break, the address refuses. Nothing replaces it. */
  kill(): void {
    if (this.#phase === 'gone') return;
    this.#phase = 'gone';
    this.#settings.server.crash();
    this.#settings.onChange();
    this.#gone.resolve();
    this.#end.abort();
  }

  /** Used by the service. Becomes ready after `startup` ms, unless it is gone by then. */
  async start(startup: number): Promise<void> {
    if (startup > 0) await this.#wait(startup);
    if (this.#phase !== 'gone') this.ready = true;
  }

  /**
   * Takes the pod through the end of its life, and resolves when it is gone: it is marked as terminating, goes on
   * serving during preStop, is told to stop, and is killed when its grace is over.
   * https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
   */
  async terminate(termination: Termination = {}): Promise<void> {
    checkOptions('terminate', terminationShape, termination);
    const { preStop = 0, grace = defaultGrace, onStop = 'drain' } = termination;
    if (this.#phase !== 'running') return this.#gone.promise;
    this.#phase = 'terminating';
    this.#settings.onChange();
    const kill = this.#settings.clock.schedule(grace, () => this.kill());
    if (preStop > 0) await this.#wait(preStop);
    if (this.phase === 'terminating' && onStop === 'drain') {
      this.#phase = 'stopping';
      this.#settings.onChange();
      await this.#settings.server.drain();
    }
    kill();
    this.kill();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#inflight++;
    response.once('finish', () => this.#served++);
    const closed = new AbortController();
    response.once('close', () => {
      this.#inflight--;
      closed.abort();
    });
    const failure = this.#rollFailure();
    if (failure?.hang) return;
    if (failure?.reset) return void request.socket.resetAndDestroy();
    const latency = typeof this.latency === 'function' ? this.latency() : this.latency;
    try {
      if (latency > 0) await wait(this.#settings.clock, latency, closed.signal);
      if (failure?.status === undefined) await this.#settings.handler(request, response, this);
      else {
        response.statusCode = failure.status;
        response.end(`${this.name} answers ${failure.status} because the test told it to\n`);
      }
    } catch (error) {
      // With the caller gone, there is no one to tell; within an answer, no way to.
      if (response.headersSent || response.destroyed) response.destroy();
      else {
        response.statusCode = 500;
        response.end(`the handler of ${this.name} threw: ${String(error)}\n`);
      }
    }
  }

  #rollFailure(): PodFailure | undefined {
    const failure = this.#failure;
    if (failure === undefined) return undefined;
    const { rate = 1 } = failure;
    return rate >= 1 || this.#settings.random() < rate ? failure : undefined;
  }

  /** Waits for so long, or until the pod is gone. */
  async #wait(delay: number): Promise<void> {
    await wait(this.#settings.clock, delay, this.#end.signal).catch(() => {});
  }
}

/** Answers with the pod's name and what it was asked, once the request has come whole. */
export const echo: PodHandler = async (request, response, pod) => {
  const body = await text(request);
  response.setHeader('content-type', 'application/json');
  response.end(`${JSON.stringify({ pod: pod.name, method: request.method, path: request.url, body })}\n`);
};
