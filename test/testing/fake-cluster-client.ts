import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { expect } from 'vitest';
import type { FakeCluster } from '../../src/testing/fake-cluster.ts';

/** `expect.poll` with patience for a busy machine. */
export function eventually<T>(read: () => T): ReturnType<typeof expect.poll<T>> {
  return expect.poll(read, { timeout: 10_000, interval: 5 });
}

/** The group, version and namespace of slices in a path. */
export const slicesIn = (namespace: string): string =>
  `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;

/** Asks the API with the cluster's token. */
export function ask(cluster: FakeCluster, path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${cluster.url}${path}`, {
    ...init,
    headers: { authorization: `Bearer ${cluster.token}`, ...init.headers },
  });
}

export interface WatchEvent {
  readonly type: string;
  // biome-ignore lint/suspicious/noExplicitAny: an object of any kind
  readonly object: any;
}

/** The lines of a watch, read one by one; `rest` reads to the end. */
export class WatchReader {
  readonly #events: AsyncGenerator<WatchEvent, void>;

  constructor(response: Response) {
    this.#events = eventsOf(response);
  }

  async next(): Promise<WatchEvent> {
    const { value, done } = await this.#events.next();
    if (done || value === undefined) throw new Error('the watch has ended');
    return value;
  }

  async rest(): Promise<WatchEvent[]> {
    const events: WatchEvent[] = [];
    for await (const event of this.#events) events.push(event);
    return events;
  }

  async close(): Promise<void> {
    await this.#events.return();
  }
}

async function* eventsOf(response: Response): AsyncGenerator<WatchEvent, void> {
  let rest = '';
  for await (const part of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const lines = (rest + part).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line) as WatchEvent;
  }
}

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** The body without its framing. */
  readonly body: string;
  /** The HTTP chunks of the body; undefined when it came with its length. */
  readonly chunks: readonly string[] | undefined;
  /** Whether the body came to its proper end. */
  readonly complete: boolean;
}

/** Takes the bytes of one HTTP/1.1 answer apart. */
export function parseAnswer(bytes: Buffer): RawAnswer {
  const end = bytes.indexOf('\r\n\r\n');
  const [first = '', ...lines] = bytes.subarray(0, end).toString().split('\r\n');
  const headers = new Map(
    lines.map((line) => [line.split(':', 1)[0]?.toLowerCase() ?? '', line.replace(/^[^:]*: /, '')]),
  );
  const status = Number(first.split(' ')[1]);
  let rest = bytes.subarray(end + 4);
  if (headers.get('transfer-encoding') !== 'chunked') {
    const complete = rest.length === Number(headers.get('content-length'));
    return { status, headers, body: rest.toString(), chunks: undefined, complete };
  }
  const chunks: string[] = [];
  let complete = false;
  while (!complete && rest.includes('\r\n')) {
    const at = rest.indexOf('\r\n');
    const size = Number.parseInt(rest.subarray(0, at).toString(), 16);
    complete = size === 0;
    if (!complete) chunks.push(rest.subarray(at + 2, at + 2 + size).toString());
    rest = rest.subarray(at + 2 + size + 2);
  }
  return { status, headers, body: chunks.join(''), chunks, complete };
}

/** A recorded answer of a real API server. */
export function recorded(name: string): RawAnswer {
  return parseAnswer(readFileSync(new URL(`../fixtures/apiserver/${name}.raw`, import.meta.url)));
}

/** Asks over a socket of its own and resolves with the bytes when it closes; `onData` is told of each read. */
export function askRaw(
  cluster: FakeCluster,
  request: string,
  onData: (read: Buffer, so_far: Buffer) => void = () => {},
): Promise<{ readonly bytes: Buffer; readonly error: Error | undefined }> {
  const { hostname, port } = new URL(cluster.url);
  return new Promise((resolve) => {
    const reads: Buffer[] = [];
    let error: Error | undefined;
    const socket = connect(Number(port), hostname, () => socket.write(request));
    socket.on('data', (read) => {
      reads.push(read);
      onData(read, Buffer.concat(reads));
    });
    socket.once('error', (cause) => {
      error = cause;
    });
    socket.once('close', () => resolve({ bytes: Buffer.concat(reads), error }));
  });
}
