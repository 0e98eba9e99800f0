import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  Agent,
  type Dispatcher,
  getGlobalDispatcher,
  interceptors,
  MockAgent,
  RetryAgent,
  setGlobalDispatcher,
  fetch as undiciFetch,
} from 'undici';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ServiceAgent } from '../../src/client/agent.ts';
import { createFetch } from '../../src/client/fetch.ts';

const before = getGlobalDispatcher();
const agents: Dispatcher[] = [];
let server: Server;
let url: string;

beforeEach(async () => {
  server = createServer((_, response) => response.end('from outside'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterEach(async () => {
  setGlobalDispatcher(before);
  await Promise.all(agents.splice(0).map((agent) => agent.close()));
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function agentOf(options?: ConstructorParameters<typeof ServiceAgent>[0]): ServiceAgent {
  const agent = new ServiceAgent(options);
  agents.push(agent);
  return agent;
}

function mocked(): MockAgent {
  const mock = new MockAgent();
  mock.disableNetConnect();
  mock.get('http://api.example.com').intercept({ path: '/' }).reply(200, 'mocked').persist();
  agents.push(mock);
  return mock;
}

/** The platform’s fetch and undici’s, whose handlers may be of two generations. */
const fetches: Readonly<
  Record<string, (url: string, init?: object) => Promise<{ text(): Promise<string> }>>
> = { 'the platform’s fetch': globalThis.fetch, 'undici’s fetch': undiciFetch };

describe.each(Object.keys(fetches))('a call of %s to a host that is no service', (name) => {
  const fetch = fetches[name] as (url: string, init?: object) => Promise<{ text(): Promise<string> }>;
  const text = async (...args: Parameters<typeof fetch>): Promise<string> => (await fetch(...args)).text();

  it.each<[string, () => Dispatcher]>([
    ['our agent', () => agentOf()],
    ['our agent with an interceptor', () => agentOf().compose(interceptors.redirect())],
    ['undici’s RetryAgent over ours', () => new RetryAgent(agentOf())],
    [
      'the second of two of ours',
      () => {
        setGlobalDispatcher(agentOf());
        return agentOf();
      },
    ],
  ])('gets there while the app’s dispatcher is %s', async (_, make) => {
    setGlobalDispatcher(make());
    expect(await text(url)).toBe('from outside');
    expect(await text(url)).toBe('from outside');
    expect(await text(url, { dispatcher: agentOf() })).toBe('from outside');
  });

  it('goes to the dispatcher that the app has by then', async () => {
    const agent = agentOf();
    setGlobalDispatcher(mocked());
    expect(await text('http://api.example.com/', { dispatcher: agent })).toBe('mocked');
  });

  it('goes to the dispatcher that is named for such hosts', async () => {
    const agent = agentOf({ otherwise: mocked() });
    expect(await text('http://api.example.com/', { dispatcher: agent })).toBe('mocked');
  });
});

describe('createFetch', () => {
  it('sends what is for no service to the dispatcher that is named for it', async () => {
    const seen: unknown[] = [];
    const own = new Agent();
    agents.push(own);
    const otherwise = own.compose((dispatch) => (options, handler) => {
      seen.push(options.path);
      return dispatch(options, handler);
    });
    await using fetch = createFetch({ otherwise });
    expect(await (await fetch(`${url}path`)).text()).toBe('from outside');
    expect(await (await fetch(new Request(`${url}other`))).text()).toBe('from outside');
    expect(seen).toEqual(['/path', '/other']);
  });
});
