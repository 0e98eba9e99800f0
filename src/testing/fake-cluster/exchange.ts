import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import type { Random } from '../../core/clock.ts';
import { BadRevision } from './listing.ts';
import { uid } from './objects.ts';
import type { ApiRequest } from './request.ts';
import { ApiError, badRequest, PlainError } from './status.ts';

/** One request the API server has seen. The caller's token is not in it. */
export interface ApiRecord {
  /** ms on the cluster's clock */
  readonly at: number;
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  /** `get`, `list`, `watch`, …; undefined when no objects were asked for. */
  readonly verb: string | undefined;
  /** Plural, e.g. `endpointslices`. */
  readonly resource: string | undefined;
  readonly group: string | undefined;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  /** Who asked; undefined for an unknown token. */
  readonly user: string | undefined;
  /** Of the answer; 0 until there is one. */
  readonly status: number;
}

/** Bodies longer than this are compressed for callers that ask for it, as kube-apiserver does. */
const gzipThreshold = 128 * 1024;

/** A body longer than this comes in chunks, the first of this length. */
const firstChunk = 2048;

/** One flow schema for all, as if they fell under the same priority. */
const flowSchema = '03ae6f22-83f3-4b7f-9993-c5e2c70f8e6e';
const priorityLevel = '49775a26-103e-49e8-980a-5820c15ffa45';

/** A request and its answer. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Undefined when no objects are asked for. */
  readonly asked: ApiRequest | undefined;
  readonly record: ApiRecord & { status: number };
  /** Aborts when the answer has ended, or the caller has gone. */
  readonly closed: AbortSignal;
  readonly #random: Random;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    asked: ApiRequest | undefined,
    record: ApiRecord,
    random: Random,
  ) {
    this.request = request;
    this.response = response;
    this.asked = asked;
    this.record = record;
    this.#random = random;
    const closed = new AbortController();
    this.closed = closed.signal;
    response.once('close', () => closed.abort());
  }

  /** The body, whole. */
  async body(): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const part of this.request) parts.push(part as Buffer);
    return Buffer.concat(parts);
  }

  /** Sends the head of a watch at once: callers wait for it, and the first event may be long in coming. */
  open(): void {
    this.#head(200, 'application/json');
    this.response.flushHeaders();
  }

  reply(status: number, body: unknown): void {
    const { request, response } = this;
    let bytes = Buffer.from(`${JSON.stringify(body)}\n`);
    if (bytes.length > gzipThreshold && /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''))) {
      bytes = gzipSync(bytes);
      response.setHeader('Content-Encoding', 'gzip');
      response.setHeader('Vary', 'Accept-Encoding');
    }
    const chunked = bytes.length > firstChunk;
    if (!chunked) response.setHeader('Content-Length', bytes.length);
    this.#head(status, 'application/json');
    if (chunked) response.write(bytes.subarray(0, firstChunk));
    response.end(chunked ? bytes.subarray(firstChunk) : bytes);
  }

  refuse(error: unknown): void {
    const { response } = this;
    if (response.headersSent || response.destroyed) return;
    const failure = asFailure(error, this.asked?.verb === 'watch');
    const plain = failure instanceof PlainError;
    if (plain || failure.code === 403) response.setHeader('X-Content-Type-Options', 'nosniff');
    if (failure.retryAfter !== undefined) response.setHeader('Retry-After', failure.retryAfter);
    const bytes = Buffer.from(`${plain ? failure.message : JSON.stringify(failure.body)}\n`);
    response.setHeader('Content-Length', bytes.length);
    this.#head(failure.code, plain ? 'text/plain; charset=utf-8' : 'application/json');
    response.end(bytes);
  }

  #head(status: number, type: string): void {
    const { response } = this;
    response.setHeader('Audit-Id', uid(this.#random));
    response.setHeader('Cache-Control', 'no-cache, private');
    response.setHeader('Content-Type', type);
    if (status !== 401) {
      response.setHeader('X-Kubernetes-Pf-Flowschema-Uid', flowSchema);
      response.setHeader('X-Kubernetes-Pf-Prioritylevel-Uid', priorityLevel);
    }
    response.writeHead(status);
    this.record.status = status;
  }
}

function asFailure(error: unknown, watching: boolean): ApiError | PlainError {
  if (error instanceof ApiError || error instanceof PlainError) return error;
  if (error instanceof BadRevision) return error.status(watching);
  return new ApiError(500, 'InternalError', `Internal error occurred: ${String(error)}`);
}

/** The document in a body; undefined for an empty one. */
export function parseBody(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(body.toString());
  } catch (error) {
    throw badRequest(`couldn't get version/kind; json parse error: ${(error as Error).message}`);
  }
}
