import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { util } from './index.ts';
import { bundled } from './save.ts';

type Handler = Dispatcher.DispatchHandler;
type Raw = Buffer[];

/**
 * A handler in the form that the platform's fetch gives to its dispatcher, so that a call of ours can take its way.
 * undici has the way back only.
 */
export function platformHandler(handler: Handler): Handler {
  return bundled >= 8 ? handler : (new LegacyHandler(handler) as unknown as Handler);
}

class Controller implements Dispatcher.DispatchController {
  readonly #abort: (reason: Error) => void;
  resumes: (() => void) | undefined;
  paused = false;
  aborted = false;
  reason: Error | null = null;
  rawHeaders: Raw | null = null;
  rawTrailers: Raw | null = null;

  constructor(abort: (reason: Error) => void) {
    this.#abort = abort;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.resumes?.();
  }

  abort(reason: Error): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    this.#abort(reason);
  }
}

/** https://github.com/nodejs/undici/blob/v6.21.2/docs/docs/api/Dispatcher.md#parameter-dispatchhandler */
export class LegacyHandler {
  readonly #handler: Handler;
  #controller: Controller | undefined;

  constructor(handler: Handler) {
    this.#handler = handler;
  }

  onConnect(abort: (reason: Error) => void, context: unknown): void {
    this.#controller = new Controller(abort);
    this.#handler.onRequestStart?.(this.#controller, context);
  }

  onHeaders(status: number, raw: Raw, resume: () => void, statusText?: string): boolean {
    const controller = this.#controller as Controller;
    controller.resumes = resume;
    controller.rawHeaders = raw;
    this.#handler.onResponseStart?.(controller, status, parsed(raw), statusText);
    return !controller.paused;
  }

  onData(chunk: Buffer): boolean {
    const controller = this.#controller as Controller;
    this.#handler.onResponseData?.(controller, chunk);
    return !controller.paused;
  }

  onComplete(raw: Raw | null): void {
    const controller = this.#controller as Controller;
    controller.rawTrailers = raw;
    this.#handler.onResponseEnd?.(controller, parsed(raw ?? []));
  }

  /** Also before there was anything to abort. */
  onError(error: Error): void {
    this.#handler.onResponseError?.(this.#controller as Controller, error);
  }
}

function parsed(raw: Raw): IncomingHttpHeaders {
  return util.parseHeaders(raw) as IncomingHttpHeaders;
}
