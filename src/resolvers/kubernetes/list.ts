import type { ApiServer } from './api-server.ts';
import { WatchError } from './errors.ts';
import { parseList } from './list-items.ts';
import { inTurns } from './work-budget.ts';

/** Bytes of the largest list that is accepted. */
const bodyLimit = 128 * 1024 * 1024;

export interface List<T> {
  readonly resourceVersion: string;
  readonly items: readonly T[];
}

/** A list in one piece. The result settles once; `close` makes it settle never. */
export function list<T>(
  api: ApiServer,
  path: string,
  read: (object: unknown) => T,
  onList: (list: List<T>) => void,
  onError: (error: WatchError) => void,
): { close(): void } {
  let chunks: Buffer[] = [];
  let bytes = 0;
  let closed = false;
  const exchange = api.get(path, {
    onHead() {},
    onData(chunk) {
      bytes += chunk.length;
      if (bytes <= bodyLimit) chunks.push(chunk);
      else {
        chunks = [];
        exchange.abort();
        onError(
          new WatchError(`the API server sent a list of more than ${bodyLimit} bytes`, 'STEERSMAN_ERR_API'),
        );
      }
    },
    async onEnd() {
      const body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
      chunks = [];
      let result: List<T> | WatchError;
      try {
        const { head, items } = await inTurns(parseList(body, read));
        const { metadata } = head as { metadata?: { resourceVersion?: unknown } };
        result = { resourceVersion: String(metadata?.resourceVersion ?? ''), items };
      } catch (error) {
        result = new WatchError(
          `the API server sent a list that is ${error instanceof SyntaxError ? 'not JSON' : 'not of the form it should have'}`,
          'STEERSMAN_ERR_API',
        );
      }
      if (closed) return;
      if (result instanceof WatchError) onError(result);
      else onList(result);
    },
    onError,
  });
  return {
    close() {
      closed = true;
      exchange.abort();
    },
  };
}
