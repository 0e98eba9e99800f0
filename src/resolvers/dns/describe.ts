import { ResolveError } from '../../core/errors.ts';
import type { Answer } from './ask.ts';

/** One name that was asked for, and the answer for each type. */
export interface Asked {
  readonly name: string;
  readonly answers: readonly { readonly type: string; readonly answer: Answer<unknown> }[];
}

/** The error of a round without a result: which names were asked for, where, and what came back. */
export function resolveError(
  host: string,
  outcome: 'does not exist' | 'has no addresses' | 'cannot be resolved now',
  asked: readonly Asked[],
  servers: readonly string[],
  hint = '',
): ResolveError {
  const names = asked.map(
    ({ name, answers }) =>
      `${name} (${answers.map(({ type, answer }) => `${type}: ${told(answer)}`).join(', ')})`,
  );
  const where = servers.length > 0 ? ` of ${servers.join(', ')}` : '';
  return new ResolveError(`${host} ${outcome}: asked${where} for ${names.join(', ')}${hint}`, host, {
    cause: causeOf(asked),
  });
}

/** The error that goes with dropping a set that nothing has confirmed for `maxStale` ms. */
export function expiredError(host: string, maxStale: number, cause: Error): ResolveError {
  return new ResolveError(`${host} has not been resolved for ${maxStale} ms: its set is dropped`, host, {
    cause,
  });
}

/** An answer in a word or two. */
export function told(answer: Answer<unknown>): string {
  if (answer.kind === 'records') return `${answer.records.length} records`;
  if (answer.kind === 'none') return answer.code;
  // c-ares' own messages only repeat the code and the name.
  return answer.error.message.includes(answer.code) ? answer.code : `${answer.code}, ${answer.error.message}`;
}

/** The answer that decided: a failure where there is one, else the last word. */
function causeOf(asked: readonly Asked[]): Error | undefined {
  const answers = asked.flatMap((one) => one.answers.map(({ answer }) => answer));
  const decisive =
    answers.find(({ kind }) => kind === 'failed') ??
    answers.find((answer) => answer.kind === 'none' && answer.code === 'ENODATA') ??
    answers.at(-1);
  return decisive === undefined || decisive.kind === 'records' ? undefined : decisive.error;
}
