import type { Socket } from 'node:net';
import { afterTwoTurns } from '../core/clock.ts';

/**
 * undici destroys an HTTP/2 connection the moment its server ends it, and cuts off the answers that came right before
 * and have not been read. So what `connect` makes listen for the end of the socket hears of it two turns later.
 */
export function hearingEndLate(socket: Socket, connect: () => void): void {
  const others = socket.listeners('end');
  connect();
  for (const listener of socket.listeners('end')) {
    if (others.includes(listener)) continue;
    socket.off('end', listener as () => void);
    socket.once('end', () => afterTwoTurns(() => listener.call(socket)));
  }
}
