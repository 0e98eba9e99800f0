import { ResolveError } from '../../core/errors.ts';
import { type Answer, dnsError, refusedAddress } from './ask.ts';

/** One name that was asked for, and the answer for each type. */
export interface Asked {
  readonly name: string;
  readonly answers: readonly { readonly type: string; readonly answer: Answer<unknown> }[];
}

/** That a server says there is nothing: final, until it says otherwise. */
export function nothingThere(
  host: string,
  outcome: 'does not exist' | 'has no addresses',
  asked: readonly Asked[],
  servers: readonly string[],
  hint = '',
): ResolveError {
  const cause = decisive(asked)?.error;
  return new ResolveError(`${host} ${outcome}: ${questions(asked, servers)}${hint}`, host, { cause });
}

/**
 * That nobody knows: an error with the failing answer's code, like Node's own, since the next round may go well.
 * Addresses that may not be dialled are a `ResolveError`: it will not get better by waiting.
 */
export function nobodyKnows(
  host: string,
  asked: readonly Asked[],
  servers: readonly string[],
  hint = '',
): Error {
  const answer = decisive(asked);
  const message = `${host} cannot be resolved now: ${questions(asked, servers)}${hint}`;
  if (answer?.code === refusedAddress) return new ResolveError(message, host, { cause: answer.error });
  return dnsError(answer?.code ?? 'ETIMEOUT', message, answer?.error);
}

/** The error that goes with dropping a set that nothing has confirmed for `maxStale` ms. */
export function expired(host: string, maxStale: number, cause: Error): Error {
  const { code = 'ETIMEOUT' } = cause as NodeJS.ErrnoException;
  return dnsError(code, `${host} has not been resolved for ${maxStale} ms: its set is dropped`, cause);
}

/** Which names were asked for, where, and what came back. */
function questions(asked: readonly Asked[], servers: readonly string[]): string {
  const where = servers.length > 0 ? ` of ${servers.join(', ')}` : '';
  const names = asked.map(({ name, answers }) => {
    const all = answers.map(({ type, answer }) => `${type}: ${told(answer)}`);
    return `${name} (${all.join(', ')})`;
  });
  return `asked${where} for ${names.join(', ')}`;
}

/** What to look at when an answer may have been too large for a datagram. */
export const needsTcp = '; if the answer is large, port 53 must be open for TCP as well as for UDP';

/** c-ares drops what it had over UDP when it then cannot ask over TCP, and says no more than that. */
export function isUnanswered(answer: Answer<unknown>): boolean {
  return answer.kind === 'failed' && (answer.code === 'ETIMEOUT' || answer.code === 'ECONNREFUSED');
}

/** An answer in a word or two. */
export function told(answer: Answer<unknown>): string {
  if (answer.kind === 'records') return `${answer.records.length} records`;
  if (answer.kind === 'none') return answer.code;
  // c-ares' own messages only repeat the code and the name.
  return answer.error.message.includes(answer.code) ? answer.code : `${answer.code}, ${answer.error.message}`;
}

/** The answer that decided: a failure where there is one, else that the name exists, else the last word. */
function decisive(asked: readonly Asked[]): Exclude<Answer<unknown>, { kind: 'records' }> | undefined {
  const answers = asked
    .flatMap((one) => one.answers.map(({ answer }) => answer))
    .filter((answer) => answer.kind !== 'records');
  return (
    answers.find(({ kind }) => kind === 'failed') ??
    answers.find(({ code }) => code === 'ENODATA') ??
    answers.at(-1)
  );
}
