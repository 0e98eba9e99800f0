// What every supported Node must be able to do with the installed package; run by matrix.ts in an app of its own.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';

const slot = Symbol.for('undici.globalDispatcher.1');
await fetch('data:,x');
const before = globalThis[slot];
const platformFetch = globalThis.fetch;
const steersman = await import('steersman');
const testing = await import('steersman/testing');
assert.equal(globalThis[slot], before, 'importing replaced the global dispatcher');
assert.equal(globalThis.fetch, platformFetch);

const server = createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ host: request.headers.host, url: request.url }));
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
await agent.close();

const client = steersman.createClient('http://user-service:8080', { resolver });
const { statusCode, body } = await client.request({ path: '/client' });
assert.equal(statusCode, 200);
assert.equal((await body.json()).url, '/client');
await client.close();

server.closeAllConnections();
server.close();
console.log('smoke ok');
