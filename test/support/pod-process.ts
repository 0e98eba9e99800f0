import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { endpoint } from '../../src/testing/values.ts';

export interface PodProgramOptions {
  /** An HTTP server, or one on raw sockets that gives no keep-alive hint. */
  readonly kind: 'http' | 'raw';
  /** File to which `METHOD /path` of every executed request is appended (`/path` by raw pods). */
  readonly log?: string;
  /** ms an answer takes. */
  readonly work?: number;
  /** What SIGTERM does: ends the process at once, or closes the server and then ends. */
  readonly onTerm?: 'exit' | 'close';
  /** ms after which a raw server closes an idle connection. */
  readonly idle?: number;
  readonly backlog?: number;
}

/** What an HTTP pod can be told while it runs. */
export interface PodBehaviour {
  /** ms an answer takes. */
  readonly work?: number;
  /** Answered to everything, and then nothing is executed. */
  readonly status?: number;
}

let started = 0;

/** A pod that is a process, so that it can be stopped and killed like one. */
export class PodProcess implements AsyncDisposable {
  readonly endpoint: Endpoint;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, at: Endpoint) {
    this.#child = child;
    this.endpoint = at;
  }

  static async start(options: PodProgramOptions): Promise<PodProcess> {
    const program = fileURLToPath(new URL('./pod-program.ts', import.meta.url));
    const child = fork(program, [JSON.stringify(options)], { execArgv: ['--no-warnings'] });
    const [port] = (await once(child, 'message')) as [number];
    const at = endpoint({ id: `pod-${++started}`, address: '127.0.0.1', port, name: `pod-${started}` });
    return new PodProcess(child, at);
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  behave(behaviour: PodBehaviour): void {
    if (this.#child.connected) this.#child.send(behaviour);
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.ended) this.#child.kill(signal);
  }

  /** Resolves when the process is gone. */
  async gone(): Promise<void> {
    if (!this.ended) await once(this.#child, 'exit');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal('SIGKILL');
    await this.gone();
  }
}

/** An endpoint that answers no SYN any more: a stopped process whose backlog is full. */
export async function blackHole(): Promise<AsyncDisposable & { readonly endpoint: Endpoint }> {
  const pod = await PodProcess.start({ kind: 'raw', backlog: 1 });
  pod.signal('SIGSTOP');
  const fillers: Socket[] = [];
  for (let full = false; !full; ) {
    const socket = connect(pod.endpoint.port, pod.endpoint.address).on('error', () => {});
    fillers.push(socket);
    full = await Promise.race([
      once(socket, 'connect').then(() => false),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 150)),
    ]);
  }
  return {
    endpoint: pod.endpoint,
    async [Symbol.asyncDispose]() {
      for (const socket of fillers) socket.destroy();
      await pod[Symbol.asyncDispose]();
    },
  };
}
