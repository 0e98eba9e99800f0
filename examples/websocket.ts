// Long-lived connections: a lease counts one, and the dispatcher makes one that does not know about services.
import { createClient, fixed, leastConnection } from 'steersman';
import { WebSocketServer } from 'ws';

const servers = ['127.0.0.1', '127.0.0.2'].map((host) => new WebSocketServer({ host, port: 0 }));
await Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve))));
const endpoints = servers.map((server) => {
  const { address, port } = server.address() as { address: string; port: number };
  return `${address}:${port}`;
});
for (const [i, server] of servers.entries())
  server.on('connection', (socket) => socket.send(`server ${i + 1}`));

const chat = createClient('http://chat.shop', { resolver: fixed(endpoints), balancer: leastConnection() });
for (let i = 0; i < 2; i++) {
  const socket = new WebSocket('ws://chat.shop/room', { dispatcher: chat.dispatcher });
  const greeting = await new Promise((resolve) =>
    socket.addEventListener('message', ({ data }) => resolve(data)),
  );
  console.log(
    typeof greeting,
    chat
      .snapshot()
      .endpoints.map(({ inflight }) => inflight)
      .join(' '),
  );
}

// Or only the choice: for gRPC, raw TCP, whatever you have.
using lease = await chat.pick();
console.log(endpoints.includes(`${lease.endpoint.address}:${lease.endpoint.port}`));

for (const server of servers) {
  for (const socket of server.clients) socket.terminate();
  server.close();
}
await chat.close();
