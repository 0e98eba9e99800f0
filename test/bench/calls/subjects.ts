// First, since it leaves the platform's fetch its own dispatcher, which undici imported alone replaces.
import '../../../src/undici/index.ts';

import { Agent as HttpAgent } from 'node:http';
import { credentials } from '@grpc/grpc-js';
import axios from 'axios';
import got from 'got';
import {
  Agent,
  BalancedPool,
  type Dispatcher,
  interceptors,
  Pool,
  RoundRobinPool,
  fetch as undiciFetch,
} from 'undici';
import { createClient, createFetch, fixed } from '../../../src/index.ts';
import { Users } from './grpc.ts';

/** One way to make a call and read its answer to the end. */
export interface Subject {
  call(): Promise<unknown>;
}

/** Where the servers are. */
export interface Ports {
  readonly http: readonly number[];
  readonly grpc: readonly number[];
}

type Make = (ports: Ports) => Subject | Promise<Subject>;

const path = '/users/42';

/** The names that all the others' costs are divided by. */
export const limit = 'static round-robin over Pools';
export const platformFetch = 'platform fetch';

/** Everything that is compared, each with a warm connection pool of its own. Nothing is turned off. */
export const subjects: Readonly<Record<string, Make>> = {
  [limit]: ({ http }) => {
    const pool = turns(origins(http).map((origin) => new Pool(origin)));
    return { call: () => read(pool().request({ path, method: 'GET' })) };
  },
  'steersman request': async ({ http }) => {
    const client = createClient('http://user-service', { resolver: fixed(endpoints(http)) });
    await client.ready();
    return { call: () => read(client.request({ path, method: 'GET' })) };
  },
  'steersman fetch': ({ http }) => {
    const wrapped = createFetch({ resolver: fixed(endpoints(http)) });
    return { call: async () => (await wrapped(`http://user-service${path}`)).json() };
  },
  'undici BalancedPool': ({ http }) => {
    const balanced = new BalancedPool(origins(http));
    return { call: () => read(balanced.request({ path, method: 'GET' })) };
  },
  'undici RoundRobinPool': ({ http }) => {
    // Of one origin: it is its connections that take turns.
    const pool = new RoundRobinPool(origins(http)[0] as string, { connections: 50 });
    return { call: () => read(pool.request({ path, method: 'GET' })) };
  },
  'undici dns + retry': ({ http }) => {
    const records = http.map((port) => ({ address: '127.0.0.1', family: 4 as const, ttl: 60_000, port }));
    const agent = new Agent().compose(
      interceptors.dns({ lookup: (_origin, _options, callback) => callback(null, records as never) }),
      interceptors.retry(),
    );
    return { call: () => read(agent.request({ origin: 'http://user-service', path, method: 'GET' })) };
  },
  [platformFetch]: ({ http }) => {
    const origin = turns(origins(http));
    return { call: async () => (await fetch(`${origin()}${path}`)).json() };
  },
  'undici fetch': ({ http }) => {
    const origin = turns(origins(http));
    return { call: async () => (await undiciFetch(`${origin()}${path}`)).json() };
  },
  axios: ({ http }) => {
    const origin = turns(origins(http));
    const instance = axios.create({ httpAgent: new HttpAgent({ keepAlive: true }) });
    return { call: async () => (await instance.get(`${origin()}${path}`)).data };
  },
  got: ({ http }) => {
    const origin = turns(origins(http));
    const instance = got.extend({ agent: { http: new HttpAgent({ keepAlive: true }) }, retry: { limit: 0 } });
    return { call: () => instance(`${origin()}${path}`).json() };
  },
  'grpc-js round_robin': ({ grpc }) => {
    const addresses = `ipv4:${grpc.map((port) => `127.0.0.1:${port}`).join(',')}`;
    const client = new Users(addresses, credentials.createInsecure(), {
      'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    });
    type Get = (request: unknown, done: (error: Error | null, value: unknown) => void) => void;
    const get = (client['get'] as Get).bind(client);
    return {
      call: () =>
        new Promise((resolve, reject) => {
          get({ id: 42 }, (error, value) => (error === null ? resolve(value) : reject(error)));
        }),
    };
  },
};

async function read(pending: Promise<Dispatcher.ResponseData>): Promise<unknown> {
  return (await pending).body.json();
}

function origins(ports: readonly number[]): string[] {
  return ports.map((port) => `http://127.0.0.1:${port}`);
}

function endpoints(ports: readonly number[]): string[] {
  return ports.map((port) => `127.0.0.1:${port}`);
}

function turns<T>(items: readonly T[]): () => T {
  let next = 0;
  return () => items[next++ % items.length] as T;
}
