import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../../src/core/clock.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';

/** What can be wrong with the network to one pod, as Toxiproxy has it. */
export type Fault =
  | { readonly kind: 'none' }
  /** Every piece arrives so many ms later, in both directions. */
  | { readonly kind: 'latency'; readonly ms: number }
  /** Bytes per ms, in both directions. */
  | { readonly kind: 'bandwidth'; readonly bytesPerMs: number }
  /** Pieces of so many bytes, a ms apart. */
  | { readonly kind: 'slicer'; readonly bytes: number }
  /** Closing takes so many ms longer. */
  | { readonly kind: 'slow close'; readonly ms: number }
  /** Every connection is reset, and new ones when they have been accepted. */
  | { readonly kind: 'reset' }
  /** Each connection is reset after so many bytes of its answers. */
  | { readonly kind: 'limit'; readonly bytes: number }
  /** Connections stay, and nothing passes any more: neither bytes nor ends. */
  | { readonly kind: 'half-open' }
  /** New connections are refused. */
  | { readonly kind: 'down' };

/** One connection through the proxy. */
interface Line {
  readonly client: Socket;
  readonly pod: Socket;
  answered: number;
}

/** A TCP proxy in front of one pod: what passes, and how, is for the test to say. */
export class FaultProxy implements AsyncDisposable {
  readonly endpoint: Endpoint;
  readonly #clock: Clock;
  readonly #pod: Endpoint;
  readonly #lines = new Set<Line>();
  #server: Server;
  #fault: Fault = { kind: 'none' };

  private constructor(pod: Endpoint, server: Server, clock: Clock) {
    this.#pod = pod;
    this.#server = server;
    this.#clock = clock;
    this.endpoint = { ...pod, port: (server.address() as AddressInfo).port };
    server.on('connection', (socket) => this.#accept(socket));
  }

  static async start(
    pod: Endpoint,
    { clock = systemClock, port = 0 }: { readonly clock?: Clock; readonly port?: number } = {},
  ): Promise<FaultProxy> {
    return new FaultProxy(pod, await listen(port), clock);
  }

  get fault(): Fault {
    return this.#fault;
  }

  get connections(): number {
    return this.#lines.size;
  }

  async inject(fault: Fault): Promise<void> {
    const before = this.#fault;
    this.#fault = fault;
    if (fault.kind === 'reset') for (const line of [...this.#lines]) reset(line);
    if (before.kind === 'half-open' && fault.kind !== 'half-open') {
      // What was swallowed is lost: such a connection is of no use any more.
      for (const line of [...this.#lines]) reset(line);
    }
    if (fault.kind === 'down' && before.kind !== 'down') {
      for (const line of [...this.#lines]) reset(line);
      await new Promise((resolve) => this.#server.close(resolve));
    } else if (before.kind === 'down' && fault.kind !== 'down') {
      this.#server = await listen(this.endpoint.port);
      this.#server.on('connection', (socket) => this.#accept(socket));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const line of [...this.#lines]) reset(line);
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    client.on('error', () => {});
    if (this.#fault.kind === 'reset') {
      client.resetAndDestroy();
      return;
    }
    const pod = connect({ port: this.#pod.port, host: this.#pod.address, allowHalfOpen: true });
    const line: Line = { client, pod, answered: 0 };
    this.#lines.add(line);
    pod.on('error', () => reset(line));
    client.on('error', () => reset(line));
    const gone = (): void => {
      if (client.destroyed && pod.destroyed) this.#lines.delete(line);
      // An end that came in order is passed on, after what came before it.
      else if (this.#fault.kind !== 'half-open' && !client.writableEnded) reset(line);
    };
    client.once('close', gone);
    pod.once('close', gone);
    this.#pass(line, client, pod, false);
    this.#pass(line, pod, client, true);
  }

  /** One direction: pieces keep their order, and the end comes after the last of them. */
  #pass(line: Line, from: Socket, to: Socket, answers: boolean): void {
    const queue = new Queue(this.#clock);
    const write = (piece: Buffer): void => {
      if (!to.destroyed && to.writable && this.#fault.kind !== 'half-open') to.write(piece);
    };
    from.on('data', (chunk: Buffer) => {
      const fault = this.#fault;
      if (answers) line.answered += chunk.byteLength;
      switch (fault.kind) {
        case 'half-open':
          return;
        case 'latency': {
          // Pieces under way do not wait for one another.
          queue.at(this.#clock.now() + fault.ms, () => write(chunk));
          return;
        }
        case 'bandwidth':
          queue.after(chunk.byteLength / fault.bytesPerMs, () => write(chunk));
          return;
        case 'slicer':
          for (let i = 0; i < chunk.byteLength; i += fault.bytes) {
            const piece = chunk.subarray(i, i + fault.bytes);
            queue.after(1, () => write(piece));
          }
          return;
        case 'limit':
          if (answers && line.answered > fault.bytes) reset(line);
          else queue.after(0, () => write(chunk));
          return;
        default:
          queue.after(0, () => write(chunk));
      }
    });
    from.once('end', () => {
      if (this.#fault.kind === 'half-open') return;
      const delay = this.#fault.kind === 'slow close' ? this.#fault.ms : 0;
      queue.after(delay, () => to.end());
    });
  }
}

/** Work that is done in its order, each piece when its time has come. */
class Queue {
  readonly #clock: Clock;
  readonly #items: { due: number; work: () => void }[] = [];
  #last = 0;
  #timing = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** So many ms after the piece before it, or after now. */
  after(delay: number, work: () => void): void {
    this.at(Math.max(this.#last, this.#clock.now()) + delay, work);
  }

  at(due: number, work: () => void): void {
    this.#last = Math.max(this.#last, due);
    this.#items.push({ due: this.#last, work });
    this.#pump();
  }

  #pump(): void {
    for (;;) {
      const [first] = this.#items;
      if (first === undefined || this.#timing) return;
      const wait = first.due - this.#clock.now();
      if (wait > 0) {
        this.#timing = true;
        this.#clock.schedule(wait, () => {
          this.#timing = false;
          this.#pump();
        });
        return;
      }
      this.#items.shift();
      first.work();
    }
  }
}

function reset({ client, pod }: Line): void {
  for (const socket of [client, pod]) {
    if (socket.destroyed) continue;
    // A reset would wait for a connection, and libuv refuses one behind an end: the handle would stay open.
    if (socket.connecting || socket.writableEnded) socket.destroy();
    else socket.resetAndDestroy();
  }
}

async function listen(port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
