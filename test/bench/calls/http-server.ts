/** HTTP servers for the benchmark, where there is no nginx. Tells its ports to the process that started it. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answer } from './servers.ts';

const ports: number[] = [];
for (let i = 0; i < Number(process.argv[2]); i++) {
  const server = createServer({ keepAliveTimeout: 600_000 }, (_, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(answer);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ports.push((server.address() as AddressInfo).port);
}
process.send?.(ports);
process.on('disconnect', () => process.exit());
