import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { type AgentOptions, ServiceAgent } from '../../src/client/agent.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { FakeTransport } from '../../src/testing/fake-transport.ts';
import { Agent, getGlobalDispatcher } from '../../src/undici/index.ts';

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function echo(): Promise<{ address: string; server: Server }> {
  const server = createServer((request, response) => {
    request.resume();
    response.end(`${request.method} ${request.headers.host}${request.url}`);
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

async function agentOf(
  options: AgentOptions = {},
): Promise<{ agent: ServiceAgent; address: string; server: Server }> {
  const { address, server } = await echo();
  return { agent: new ServiceAgent({ resolver: new FakeResolver([address]), ...options }), address, server };
}

describe('ServiceAgent', () => {
  it('serves the platform’s fetch, with the service’s name in Host', async () => {
    const { agent } = await agentOf();
    const response = await fetch('http://orders:8080/a?b=c', { dispatcher: agent } as RequestInit);
    expect(response).toBeInstanceOf(Response);
    expect(await response.text()).toBe('GET orders:8080/a?b=c');
    await agent.close();
  });

  it('serves undici’s own methods', async () => {
    const { agent } = await agentOf();
    const { statusCode, body } = await agent.request({
      origin: 'http://orders:8080',
      path: '/x',
      method: 'POST',
      body: 'y',
    });
    expect([statusCode, await body.text()]).toEqual([200, 'POST orders:8080/x']);
    await agent.close();
  });

  it('serves WebSocket', async () => {
    const { agent, server } = await agentOf();
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(`re: ${String(data)}`)));
    const socket = new WebSocket('ws://orders:8080/', { dispatcher: agent } as never);
    await once(socket, 'open');
    expect(agent.snapshot()[0]?.endpoints[0]?.inflight).toBe(1);
    const answer = once(socket, 'message');
    socket.send('hello');
    expect(((await answer)[0] as MessageEvent).data).toBe('re: hello');
    socket.close();
    await once(socket, 'close');
    await expect.poll(() => agent.snapshot()[0]?.endpoints[0]?.inflight).toBe(0);
    sockets.close();
    await agent.close();
  });

  it('leaves hosts that are no services alone', async () => {
    const { address } = await echo();
    const transport = new FakeTransport();
    const agent = new ServiceAgent({ resolver: new FakeResolver(['10.0.0.1:80']), transport });
    const response = await fetch(`http://${address}/x`, { dispatcher: agent } as RequestInit);
    expect(await response.text()).toBe(`GET ${address}/x`);
    expect(transport.requests).toEqual([]);
    await agent.close();
  });

  it('sends them to the dispatcher that is named for them', async () => {
    const { address } = await echo();
    const origins: unknown[] = [];
    const own = new Agent();
    const otherwise = own.compose((dispatch) => (options, handler) => {
      origins.push(options.origin);
      return dispatch(options, handler);
    });
    const agent = new ServiceAgent({ otherwise });
    const { body } = await agent.request({ origin: `http://${address}`, path: '/', method: 'GET' });
    await body.dump();
    expect(origins.map(String)).toEqual([`http://${address}`]);
    await agent.close();
    await own.close();
  });

  it('takes the hosts that are listed, or accepted by match, whatever their names', async () => {
    const transport = new FakeTransport();
    const agent = new ServiceAgent({
      resolver: new FakeResolver(['10.0.0.1:80']),
      transport,
      services: { 'api.example.com': {}, 'two.example.com:81': { retry: false } },
      match: (url) => (url.hostname === 'matched.example.com' ? true : undefined),
    });
    for (const host of [
      'api.example.com',
      'API.example.com:9',
      'two.example.com:81',
      'matched.example.com',
    ]) {
      await (await agent.request({ origin: `http://${host}`, path: '/', method: 'GET' })).body.dump();
    }
    expect(transport.requests.map(({ service }) => service.origin)).toEqual([
      'http://api.example.com',
      'http://api.example.com:9',
      'http://two.example.com:81',
      'http://matched.example.com',
    ]);
    await agent.close();
  });

  it('refuses a match that says neither yes nor no', async () => {
    const agent = new ServiceAgent({ match: (async () => true) as never });
    const call = async () => agent.request({ origin: 'http://orders', path: '/', method: 'GET' });
    await expect(call()).rejects.toThrow(
      'option match must return true, false or undefined, got object for orders',
    );
    await agent.close();
  });

  it('fails calls after close() with an error of ours', async () => {
    const { agent } = await agentOf();
    await (await agent.request({ origin: 'http://orders', path: '/', method: 'GET' })).body.dump();
    await agent.close();
    for (const origin of ['http://orders', 'http://another']) {
      await expect(agent.request({ origin, path: '/', method: 'GET' })).rejects.toMatchObject({
        code: 'STEERSMAN_ERR_CLOSED',
      });
    }
  });

  it('destroy() cuts what is in flight', async () => {
    const { agent, server } = await agentOf({ retry: false });
    server.removeAllListeners('request');
    const arrived = once(server, 'request');
    const call = agent.request({ origin: 'http://orders', path: '/', method: 'POST' });
    call.catch(() => {});
    await arrived;
    await agent.destroy();
    await expect(call).rejects.toMatchObject({ code: 'UND_ERR_DESTROYED' });
  });

  it('hears of every service, also of those that come later', async () => {
    const resolver = new FakeResolver(['10.0.0.1:80']);
    const agent = new ServiceAgent({ resolver, transport: new FakeTransport() });
    const heard: string[] = [];
    const stop = agent.subscribe('endpoints', ({ target }) => heard.push(target));
    for (const origin of ['http://one', 'http://two:81']) {
      await (await agent.request({ origin, path: '/', method: 'GET' })).body.dump();
    }
    stop();
    resolver.set(['10.0.0.2:80']);
    await (await agent.request({ origin: 'http://three', path: '/', method: 'GET' })).body.dump();
    expect(heard).toEqual(['one', 'two:81']);
    await agent.close();
  });

  it('takes new options, but not another way for the hosts that are none of its services', async () => {
    const agent = new ServiceAgent({ services: { 'api.example.com': {} } });
    const update = (options: unknown) => () => agent.update(options as AgentOptions);
    expect(update({ otherwise: new Agent() })).toThrow(
      'option otherwise of a running client cannot be changed',
    );
    expect(update({ clock: { now: () => 0, schedule: () => () => {} } })).toThrow('option clock');
    expect(update({ nonsense: 1 })).toThrow('update: unknown option nonsense');
    await agent.close();
  });

  it('does not become the global dispatcher by itself', async () => {
    const before = getGlobalDispatcher();
    const agent = new ServiceAgent();
    expect(getGlobalDispatcher()).toBe(before);
    await agent.close();
  });

  it('refuses a handler that is none', async () => {
    const agent = new ServiceAgent({
      resolver: new FakeResolver(['10.0.0.1:80']),
      transport: new FakeTransport(),
    });
    const dispatch = (handler: unknown) => () =>
      agent.dispatch({ origin: 'http://orders', path: '/', method: 'GET' }, handler as never);
    for (const handler of [undefined, null, 7]) expect(dispatch(handler)).toThrow();
    await agent.close();
  });
});

describe('a match', () => {
  it('may take an address: whoever writes it knows what its resolver makes of it', async () => {
    const transport = new FakeTransport();
    const agent = new ServiceAgent({
      match: (url) => url.hostname === '192.0.2.1' || undefined,
      resolver: new FakeResolver(['10.0.0.1:80']),
      transport,
    });
    const { statusCode } = await agent.request({ origin: 'http://192.0.2.1:8080', path: '/', method: 'GET' });
    expect(statusCode).toBe(200);
    expect(transport.served()).toEqual({ '10.0.0.1:80': 1 });
    await agent.close();
  });
});
