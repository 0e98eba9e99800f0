import { integer, number, oneOf, shape, string } from '../../core/options.ts';
import { verbs } from './resources.ts';
import { type ApiError, type PlainError, trouble } from './status.ts';

/** How requests to the API fail. */
export interface ApiFailure {
  /** HTTP status of the answer. */
  readonly status?: number;
  /** Instead of an answer: the connection is reset, closed, or kept open without a word. */
  readonly how?: 'reset' | 'close' | 'hang';
  /** Seconds, for the `Retry-After` header; a 429 has 1 unless told. */
  readonly retryAfter?: number;
  /** How many requests; `Infinity` until `up()`. 1 by default. */
  readonly times?: number;
  /** Only requests with this verb. */
  readonly verb?: string;
  /** Only requests for this resource, e.g. `endpointslices`. */
  readonly resource?: string;
}

const check = shape({
  status: integer(400, 599),
  how: oneOf('reset', 'close', 'hang'),
  retryAfter: integer(0),
  times: number(1, Number.POSITIVE_INFINITY),
  verb: oneOf(...verbs),
  resource: string,
});

/** Failures that wait for the requests they are meant for, first come first served. */
export class Failures {
  #pending: { readonly failure: ApiFailure; left: number }[] = [];

  add(failure: ApiFailure): void {
    check(failure, 'fail');
    if ((failure.status === undefined) === (failure.how === undefined))
      throw new TypeError('option fail must have either a status or how');
    this.#pending.push({ failure, left: failure.times ?? 1 });
  }

  clear(): void {
    this.#pending = [];
  }

  take(verb: string | undefined, resource: string | undefined): ApiError | PlainError | ApiFailure['how'] {
    const found = this.#pending.find(
      ({ failure }) =>
        (failure.verb === undefined || failure.verb === verb) &&
        (failure.resource === undefined || failure.resource === resource),
    );
    if (found === undefined) return undefined;
    if (--found.left <= 0) this.#pending.splice(this.#pending.indexOf(found), 1);
    const { status, how, retryAfter } = found.failure;
    return status === undefined ? how : trouble(status, retryAfter);
  }
}
