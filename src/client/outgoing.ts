import type { Dispatcher } from 'undici';
import type { ServiceIdentity } from '../core/transport.ts';
import type { StreamedBody } from './body.ts';
import { withHeader } from './failure.ts';

/** What undici gets to see of a call: the caller's options, copied where they are not all that is to be said. */
export function outgoing(
  given: Dispatcher.DispatchOptions,
  { origin, protocol, servername }: ServiceIdentity,
  body: StreamedBody | undefined,
): Dispatcher.DispatchOptions {
  const secure = protocol === 'https:';
  if (!secure && body === undefined && given.origin === origin) return given;
  const options: Dispatcher.DispatchOptions & { servername?: string } = { ...given, origin };
  // Said, or undici would take a Host header for another server's name, and make a new connection for it.
  if (secure) options.servername = servername;
  if (body === undefined) return options;
  options.body = body as never;
  const { length } = body;
  if (length !== undefined)
    options.headers = withHeader(options.headers ?? null, 'content-length', String(length));
  return options;
}
