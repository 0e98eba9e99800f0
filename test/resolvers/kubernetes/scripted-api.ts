import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';
import type { Random } from '../../../src/core/clock.ts';

/** One request, as a scripted server sees it. */
export interface Asked {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  /** What of: `endpointslices`, `services`, `endpoints`. */
  readonly resource: string;
  /** How often that has been asked for, this time included. */
  readonly nth: number;
}

export interface Answer {
  /** Head and body, framed; nothing at all when absent. */
  readonly bytes?: Buffer;
  /** Written later. */
  readonly rest?: Promise<Buffer>;
  /** What becomes of the connection afterwards: kept unless told. */
  readonly after?: 'keep' | 'end' | 'reset';
}

export type Script = (asked: Asked) => Answer | undefined | Promise<Answer | undefined>;

/**
 * An API server that answers with exact bytes, cut at random points so that each piece is a read of its own. What a
 * test does not script is kept open without a word.
 */
export class ScriptedApi {
  readonly asked: Asked[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #script: Script;
  readonly #random: Random | undefined;
  #url = '';

  private constructor(script: Script, random: Random | undefined) {
    this.#script = script;
    this.#random = random;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(script: Script, random?: Random): Promise<ScriptedApi> {
    const api = new ScriptedApi(script, random);
    await new Promise<void>((resolve) => api.#server.listen(0, '127.0.0.1', resolve));
    api.#url = `http://127.0.0.1:${(api.#server.address() as AddressInfo).port}`;
    return api;
  }

  get kubeconfig(): string {
    return kubeconfigFor(this.#url, 'token: the-token');
  }

  /** Connections open now. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Resets every connection. */
  drop(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  times(resource: string): number {
    return this.asked.filter((asked) => asked.resource === resource).length;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end);
        text = text.slice(end + 4);
        void this.#answer(socket, head);
      }
    });
  }

  async #answer(socket: Socket, head: string): Promise<void> {
    const [first = '', ...lines] = head.split('\r\n');
    const url = new URL(first.split(' ')[1] ?? '', 'http://api');
    const resource =
      url.pathname.split('/').find((part) => /^(endpointslices|services|endpoints)$/.test(part)) ?? '';
    const headers = Object.fromEntries(
      lines.map((line) => [
        line.slice(0, line.indexOf(':')).toLowerCase(),
        line.slice(line.indexOf(':') + 1).trim(),
      ]),
    );
    const asked = {
      path: url.pathname,
      query: url.searchParams,
      headers,
      resource,
      nth: this.times(resource) + 1,
    };
    this.asked.push(asked);
    const answer = await this.#script(asked);
    if (answer === undefined) return;
    for (const piece of this.#pieces(answer.bytes ?? Buffer.alloc(0))) {
      if (socket.destroyed) return;
      socket.write(piece);
      // The reader shares this event loop: it reads before the next piece is written.
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (answer.rest !== undefined) socket.write(await answer.rest);
    if (answer.after === 'end') socket.end();
    if (answer.after === 'reset') socket.resetAndDestroy();
  }

  #pieces(bytes: Buffer): Buffer[] {
    if (this.#random === undefined) return [bytes];
    const cuts = Array.from({ length: 12 }, () => Math.floor((this.#random as Random)() * bytes.length));
    const points = [0, ...cuts.sort((a, b) => a - b), bytes.length];
    return points.slice(1).map((point, i) => bytes.subarray(points[i], point));
  }
}

export function kubeconfigFor(
  server: string,
  user: string,
  cluster = 'insecure-skip-tls-verify: true',
): string {
  return `apiVersion: v1
kind: Config
current-context: test
clusters:
- name: api
  cluster:
    server: ${server}
    ${cluster}
users:
- name: me
  user:
    ${user}
contexts:
- name: test
  context: { cluster: api, user: me, namespace: demo }
`;
}

/** A complete answer with a length. */
export function reply(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  const text = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const head = { 'Content-Type': 'application/json', ...headers, 'Content-Length': String(text.length) };
  return { bytes: Buffer.concat([headOf(status, head), text]) };
}

/** The head of a watch, and events so far; the stream stays open, or comes to its proper end. */
export function stream(events: readonly unknown[], end: 'open' | 'end' | 'cut' | 'reset' = 'open'): Answer {
  const lines = events.map((event) =>
    Buffer.from(typeof event === 'string' ? event : `${JSON.stringify(event)}\n`),
  );
  const chunks = lines.flatMap((line) => [
    Buffer.from(`${line.length.toString(16)}\r\n`),
    line,
    Buffer.from('\r\n'),
  ]);
  return {
    bytes: Buffer.concat([
      headOf(200, { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' }),
      ...chunks,
      ...(end === 'end' ? [Buffer.from('0\r\n\r\n')] : []),
    ]),
    ...(end === 'cut' ? { after: 'end' as const } : end === 'reset' ? { after: 'reset' as const } : {}),
  };
}

function headOf(status: number, headers: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`HTTP/1.1 ${status} Status\r\n${lines.join('')}\r\n`);
}

/** A slice of `service` with one port `http` 8080 and a pod per address. */
export function sliceOf(
  service: string,
  name: string,
  version: number,
  addresses: readonly string[],
): object {
  return {
    kind: 'EndpointSlice',
    apiVersion: 'discovery.k8s.io/v1',
    metadata: {
      name,
      namespace: 'demo',
      resourceVersion: String(version),
      labels: { 'kubernetes.io/service-name': service },
    },
    addressType: addresses[0]?.includes(':') ? 'IPv6' : 'IPv4',
    endpoints: addresses.map((address) => ({
      addresses: [address],
      conditions: { ready: true, serving: true, terminating: false },
      targetRef: { kind: 'Pod', name: `pod-${address}`, uid: `uid-${address}` },
    })),
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
  };
}

export function listOf(version: number, items: readonly object[]): Answer {
  return reply(200, {
    kind: 'List',
    apiVersion: 'v1',
    metadata: { resourceVersion: String(version) },
    items,
  });
}

export function bookmark(version: number, initialEnd = false): object {
  return {
    type: 'BOOKMARK',
    object: {
      kind: 'EndpointSlice',
      metadata: {
        resourceVersion: String(version),
        ...(initialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
      },
      addressType: '',
      endpoints: null,
      ports: null,
    },
  };
}

export function status(code: number, message: string, reason = ''): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code };
}
