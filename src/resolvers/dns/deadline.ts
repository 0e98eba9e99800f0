import { afterTwoTurns, type Clock } from '../../core/clock.ts';
import { dnsError } from './ask.ts';

/**
 * Runs `work` with a signal that aborts when `deadline` ms have passed or `closing` aborts; `work` settles then.
 * When this process itself was late, answers that wait in the kernel are read first.
 */
export async function withDeadline<T>(
  { clock, deadline }: { readonly clock: Clock; readonly deadline: number },
  closing: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const onClose = (): void => stop.abort(dnsError('ECANCELLED', 'the watch was closed'));
  if (closing.aborted) onClose();
  closing.addEventListener('abort', onClose, { once: true });
  const cancel = clock.schedule(deadline, () =>
    afterTwoTurns(() => stop.abort(dnsError('ETIMEOUT', `no answer within ${deadline} ms`))),
  );
  try {
    return await work(stop.signal);
  } finally {
    cancel();
    closing.removeEventListener('abort', onClose);
  }
}
