import type { Dispatcher } from 'undici';
import type { Service } from '../service.ts';
import { Answer } from './answer.ts';

/** Sends a request of one service; the same as `undici.request`. */
export function request(
  service: Service,
  options: Dispatcher.RequestOptions,
): Promise<Dispatcher.ResponseData> {
  return new Promise((resolve, reject) => {
    const answer = new Answer(options, resolve, reject);
    try {
      service.dispatch(options, answer);
    } catch (error) {
      answer.onResponseError(null, error as Error);
    }
  });
}

/** Whether there is nothing in the options that only undici's own `request` knows. */
export function isPlainRequest(options: Dispatcher.RequestOptions): boolean {
  const { method, upgrade, signal, onInfo, opaque, responseHeaders, highWaterMark } = options;
  if (onInfo != null || opaque != null || responseHeaders != null || highWaterMark != null) return false;
  if (upgrade || method === 'CONNECT') return false;
  return signal == null || signal instanceof AbortSignal;
}
