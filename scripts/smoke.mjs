// What every supported Node must be able to do with the installed package; run by matrix.ts in an app of its own.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

const slot = Symbol.for('undici.globalDispatcher.1');
await fetch('data:,x');
const before = globalThis[slot];
const platformFetch = globalThis.fetch;
const steersman = await import('steersman');
const testing = await import('steersman/testing');
const { request, setGlobalDispatcher } = await import('undici');
assert.equal(globalThis[slot], before, 'importing replaced the global dispatcher');
assert.equal(globalThis.fetch, platformFetch);

const server = createServer((request, response) => {
  if (request.url === '/events') {
    response.setHeader('content-type', 'text/event-stream');
    response.write('data: first\n\n');
    return;
  }
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ host: request.headers.host, url: request.url }));
});
server.on('upgrade', ({ headers }, socket) => {
  socket.once('data', () => socket.destroy());
  const accept = createHash('sha1')
    .update(`${headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
  );
  socket.write(Buffer.concat([Buffer.from([0x81, headers.host.length]), Buffer.from(headers.host)]));
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const resolver = new testing.FakeResolver([`127.0.0.1:${server.address().port}`]);

const fetched = steersman.createFetch({ resolver });
const answer = await fetched('http://user-service:8080/users', { method: 'POST', body: 'x' });
assert.ok(answer instanceof Response);
assert.deepEqual(await answer.json(), { host: 'user-service:8080', url: '/users' });
await fetched.close();

const agent = new steersman.ServiceAgent({ resolver });
const viaAgent = await fetch('http://user-service:8080/agent', { dispatcher: agent });
assert.deepEqual(await viaAgent.json(), { host: 'user-service:8080', url: '/agent' });
assert.deepEqual(
  await (await request('http://user-service:8080/undici', { dispatcher: agent })).body.json(),
  {
    host: 'user-service:8080',
    url: '/undici',
  },
);
const greeting = (options) =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket('ws://user-service:8080/', options);
    socket.onmessage = ({ data }) => {
      socket.close();
      resolve(data);
    };
    socket.onerror = ({ error }) => reject(error);
  });
assert.equal(await greeting({ dispatcher: agent }), 'user-service:8080');

setGlobalDispatcher(agent);
assert.deepEqual(await (await fetch('http://user-service:8080/global')).json(), {
  host: 'user-service:8080',
  url: '/global',
});
assert.deepEqual(await (await request('http://user-service:8080/global')).body.json(), {
  host: 'user-service:8080',
  url: '/global',
});
assert.equal(await greeting(), 'user-service:8080');
// Hosts that are no services go where they went before.
assert.equal((await (await fetch(`http://127.0.0.1:${server.address().port}/other`)).json()).url, '/other');
if (typeof EventSource === 'function') {
  const source = new EventSource('http://user-service:8080/events');
  assert.equal(await new Promise((resolve) => (source.onmessage = ({ data }) => resolve(data))), 'first');
  source.close();
}
server.closeAllConnections();
await agent.close();

const client = steersman.createClient('http://user-service:8080', { resolver });
const { statusCode, body } = await client.request({ path: '/client' });
assert.equal(statusCode, 200);
assert.equal((await body.json()).url, '/client');
await client.close();

server.closeAllConnections();
server.close();
console.log('smoke ok');
