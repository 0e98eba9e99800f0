import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';

/** How a connection goes: a proper end of the answer, a FIN in the middle of it, or a RST. */
export type Cut = 'end' | 'close' | 'reset';

/** What a server keeps for a watcher that does not read before it gives up on it. */
const maxBacklog = 16 * 1024 * 1024;

/** The body of one watch: a JSON document per line, each an HTTP chunk of its own unless it is to be split. */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #chunkSize: () => number | undefined;
  readonly #queue: Buffer[] = [];
  #paused: boolean;
  #pumping = false;
  #ending = false;

  constructor(response: ServerResponse, chunkSize: () => number | undefined, paused: boolean) {
    this.#response = response;
    this.#chunkSize = chunkSize;
    this.#paused = paused;
  }

  send(document: unknown): void {
    if (this.#ending) return;
    const line = Buffer.from(`${JSON.stringify(document)}\n`);
    const size = this.#chunkSize() ?? line.length;
    for (let at = 0; at < line.length; at += size) this.#queue.push(line.subarray(at, at + size));
    this.#pump();
    // A real server ends the watch of a reader that is too slow, cleanly, as if nothing were wrong.
    if (this.#response.writableLength > maxBacklog) this.end();
  }

  /** Nothing is sent any more until it goes on; what is due then comes late. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#pump();
  }

  end(): void {
    this.#ending = true;
    this.#pump();
  }

  /** At once, whatever is still to be sent. */
  cut(how: Cut): void {
    this.#ending = true;
    this.#queue.length = 0;
    if (how === 'end') this.#response.end();
    else cutConnection(this.#response, how);
  }

  #pump(): void {
    while (!this.#paused && !this.#pumping) {
      const piece = this.#queue.shift();
      if (piece === undefined) {
        if (this.#ending && !this.#response.writableEnded) this.#response.end();
        return;
      }
      // Newer Nodes would make one chunk of all that is written in a turn.
      this.#response.cork();
      this.#response.write(piece);
      this.#response.uncork();
      // Pieces of one event go out in turns of their own, so that they arrive apart.
      if (this.#chunkSize() !== undefined) this.#pumpInNextTurn();
    }
  }

  #pumpInNextTurn(): void {
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.#pump();
    });
  }
}

/** Cuts the connection that a response travels on; one of HTTP/2 with all that is on it, and never with a RST. */
export function cutConnection(response: ServerResponse, how: 'close' | 'reset'): void {
  if ('stream' in response) {
    (response as unknown as Http2ServerResponse).stream.session?.destroy();
    return;
  }
  const { socket } = response;
  if (how === 'reset' && socket !== null) socket.resetAndDestroy();
  else socket?.destroy();
}
