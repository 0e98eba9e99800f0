import { promises, type SrvRecord } from 'node:dns';
import type { Cancel, Clock } from '../../core/clock.ts';

export type RecordType = 'A' | 'AAAA' | 'SRV';

export interface AddressRecord {
  readonly address: string;
  /** Seconds, as the server says. */
  readonly ttl: number;
}

interface Records {
  readonly A: AddressRecord;
  readonly AAAA: AddressRecord;
  readonly SRV: SrvRecord;
}

/**
 * How one question ended. `none`: the name, or the name with this type, does not exist, on the word of a server.
 * `failed`: nobody knows, so that whatever was known stays.
 */
export type Answer<R> =
  | { readonly kind: 'records'; readonly records: readonly R[] }
  | { readonly kind: 'none'; readonly code: 'ENOTFOUND' | 'ENODATA'; readonly error: Error }
  | { readonly kind: 'failed'; readonly code: string; readonly error: Error };

export interface AskOptions {
  /** In order of preference; empty: those c-ares finds by itself. */
  readonly servers: readonly string[];
  readonly clock: Clock;
  /** ms that the round of questions has; each server is asked before it ends. */
  readonly deadline: number;
  /** Ends the question: a deadline's reason becomes the answer's error. */
  readonly signal: AbortSignal;
  /** Told of the server whose answer was taken. */
  onAnswered?(server: string): void;
}

/** ms of silence after which the next server is asked as well, while the first may still answer; less if time is short. */
const mostPatience = 400;

/**
 * Hints to c-ares only, since its options are no deadlines: a lost datagram is sent again about once within the
 * default deadline of 2 s. The signal is what ends a question.
 */
const carHints = { timeout: 1_000, tries: 2 };

/**
 * Asks one question of the servers, one after another: the next when one fails (c-ares itself takes SERVFAIL and
 * REFUSED for an answer) or stays silent. The first that knows wins. Never rejects. `name` ends in a dot.
 *
 * Each question has a socket of its own: A and AAAA sent from one port at once are what loses datagrams in Linux's
 * connection tracking. https://github.com/kubernetes/kubernetes/issues/56903
 */
export function ask<T extends RecordType>(
  name: string,
  type: T,
  { servers, clock, deadline, signal, onAnswered }: AskOptions,
): Promise<Answer<Records[T]>> {
  return new Promise((resolve) => {
    const resolvers = new Set<promises.Resolver>();
    const queue: (string | undefined)[] = servers.length > 0 ? [...servers] : [undefined];
    const patience = Math.min(mostPatience, deadline / queue.length);
    let cancelPatience: Cancel | undefined;
    let settled = false;

    const settle = (answer: Answer<Records[T]>): void => {
      if (settled) return;
      settled = true;
      cancelPatience?.();
      signal.removeEventListener('abort', onAbort);
      for (const resolver of resolvers) resolver.cancel();
      resolve(answer);
    };
    const onAbort = (): void => {
      const error = signal.reason as NodeJS.ErrnoException;
      settle({ kind: 'failed', code: error.code ?? 'ECANCELLED', error });
    };
    const askNext = async (): Promise<void> => {
      const server = queue.shift();
      cancelPatience?.();
      if (queue.length > 0) cancelPatience = clock.schedule(patience, askNext);
      const resolver = new promises.Resolver(carHints);
      resolvers.add(resolver);
      const answer = await query(resolver, server, name, type);
      resolvers.delete(resolver);
      if (settled) return;
      if (answer.kind !== 'failed') {
        if (server !== undefined) onAnswered?.(server);
        settle(answer);
      } else if (queue.length > 0) {
        void askNext();
      } else if (resolvers.size === 0) {
        settle(answer);
      }
    };

    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    void askNext();
  });
}

/** Parsing an answer of thousands of records takes c-ares tens of ms; what follows has a turn of its own. */
const largeAnswer = 500;

async function query<T extends RecordType>(
  resolver: promises.Resolver,
  server: string | undefined,
  name: string,
  type: T,
): Promise<Answer<Records[T]>> {
  try {
    if (server !== undefined) resolver.setServers([server]);
    const records = (await lookUp(resolver, name, type)) as Records[T][];
    if (records.length > largeAnswer) await new Promise((resolve) => setImmediate(resolve));
    if (records.length > 0) return { kind: 'records', records };
    // A CNAME whose end has no record of this type.
    return { kind: 'none', code: 'ENODATA', error: dnsError('ENODATA', `${name} has no ${type} record`) };
  } catch (error) {
    const { code = 'UNKNOWN' } = error as NodeJS.ErrnoException;
    if (code === 'ENOTFOUND' || code === 'ENODATA') return { kind: 'none', code, error: error as Error };
    return { kind: 'failed', code, error: error as Error };
  }
}

function lookUp(resolver: promises.Resolver, name: string, type: RecordType): Promise<unknown> {
  if (type === 'A') return resolver.resolve4(name, { ttl: true });
  if (type === 'AAAA') return resolver.resolve6(name, { ttl: true });
  return resolver.resolveSrv(name);
}

/** Code of an answer whose addresses may not be dialled. */
export const refusedAddress = 'EREFUSEDADDRESS';

/** An error with a code, like Node's own. */
export function dnsError(code: string, message: string, cause?: Error): NodeJS.ErrnoException {
  return Object.assign(new Error(message, cause && { cause }), { code });
}
