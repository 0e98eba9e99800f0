import { openSync, writeSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Socket } from 'node:net';
import type { PodBehaviour, PodProgramOptions } from './pod-process.ts';

/** The program of a pod in a process of its own: see `PodProcess`. */
const options = JSON.parse(process.argv[2] ?? '{}') as PodProgramOptions;
const log = options.log === undefined ? undefined : openSync(options.log, 'a');

/** Written at once, so that not even SIGKILL loses what was executed. */
function executed(id: string): void {
  if (log !== undefined) writeSync(log, `${id}\n`);
}

if (options.kind === 'raw') {
  // Answers every request, gives no keep-alive hint, and closes connections that were idle.
  const server = createServer((socket: Socket) => {
    let received = '';
    let idle: NodeJS.Timeout | undefined;
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      clearTimeout(idle);
      received += chunk.toString('latin1');
      for (;;) {
        const end = received.indexOf('\r\n\r\n');
        const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0);
        if (end === -1 || received.length < end + 4 + length) break;
        executed(/^\S+ (\S+)/.exec(received)?.[1] ?? '');
        received = received.slice(end + 4 + length);
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
      }
      if (options.idle !== undefined) idle = setTimeout(() => socket.end(), options.idle);
    });
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: options.backlog ?? 511 }, () => {
    process.send?.((server.address() as { port: number }).port);
  });
} else {
  let behaviour: PodBehaviour = { work: options.work ?? 0 };
  process.on('message', (next: PodBehaviour) => {
    behaviour = next;
  });
  const server = createHttpServer((request, response) => {
    request.resume();
    request.once('end', () => {
      const { work = 0, status } = behaviour;
      if (status !== undefined) {
        response.statusCode = status;
        response.end('not now');
        return;
      }
      executed(`${request.method} ${request.url}`);
      setTimeout(() => response.end('ok'), work);
    });
  });
  server.listen(0, '127.0.0.1', () => {
    process.send?.((server.address() as { port: number }).port);
  });
  process.on('SIGTERM', () => {
    if (options.onTerm === 'close') server.close(() => process.exit(0));
    else process.exit(0);
  });
}

process.on('disconnect', () => process.exit(0));
