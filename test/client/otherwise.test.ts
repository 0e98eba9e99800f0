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
import { fixed } from '../../src/resolvers/fixed.ts';

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

  it('follows redirects to other hosts through the dispatcher that the platform’s fetch has', async () => {
    const redirecting = createServer((_, response) =>
      response.writeHead(307, { location: `${url}there` }).end(),
    ).listen(0, '127.0.0.1');
    await once(redirecting, 'listening');
    const seen: string[] = [];
    const slots = [1, 2].map((generation) => Symbol.for(`undici.globalDispatcher.${generation}`));
    const globals = globalThis as Record<symbol, Dispatcher | undefined>;
    const kept = slots.map((slot) => globals[slot]);
    try {
      await using fetch = createFetch({
        resolver: fixed([`127.0.0.1:${(redirecting.address() as AddressInfo).port}`]),
      });
      slots.forEach((slot, i) => {
        const dispatcher = kept[i];
        if (dispatcher === undefined) return;
        globals[slot] = {
          dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler) {
            seen.push(`${String(slot)} ${options.method} ${options.path}`);
            return dispatcher.dispatch(options, handler);
          },
        } as unknown as Dispatcher;
      });
      expect(await (await globalThis.fetch(`${url}there`, { method: 'PUT', body: 'x' })).text()).toBe(
        'from outside',
      );
      const response = await fetch('http://user-service/', { method: 'PUT', body: 'x' });
      expect(await response.text()).toBe('from outside');
      expect([response.url, response.redirected]).toEqual([`${url}there`, true]);
      expect(seen).toHaveLength(2);
      expect(seen[1]).toBe(seen[0]);
    } finally {
      slots.forEach((slot, i) => {
        if (kept[i] !== undefined) globals[slot] = kept[i];
      });
      redirecting.closeAllConnections();
      await new Promise((resolve) => redirecting.close(resolve));
    }
  });
});
