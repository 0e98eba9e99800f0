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
  readonly name: string;
  call(): Promise<unknown>;
  close(): Promise<unknown>;
}

const path = '/users/42';

/** The name that all the others' costs are divided by. */
export const limit = 'static round-robin over Pools';
export const platformFetch = 'platform fetch';

/** Everything that is compared, each with a warm connection pool of its own. Nothing is turned off. */
export async function subjects(ports: readonly number[], grpcPorts: readonly number[]): Promise<Subject[]> {
  const origins = ports.map((port) => `http://127.0.0.1:${port}`);
  const endpoints = ports.map((port) => `127.0.0.1:${port}`);

  const client = createClient('http://user-service', { resolver: fixed(endpoints) });
  await client.ready();
  const wrapped = createFetch({ resolver: fixed(endpoints) });

  const pools = origins.map((origin) => new Pool(origin));
  const balanced = new BalancedPool(origins);
  const inTurn = turns(origins);
  const turnOfPools = turns(pools);
  // One origin: its connections take turns.
  const roundRobin = new RoundRobinPool(origins[0] as string, { connections: 50 });
  const intercepted = new Agent().compose(
    interceptors.dns({
      lookup: (_origin, _options, callback) =>
        callback(
          null,
          ports.map((port) => ({
            address: '127.0.0.1',
            family: 4 as const,
            ttl: 60_000,
            port,
          })) as never,
        ),
    }),
    interceptors.retry(),
  );
  const agent = new HttpAgent({ keepAlive: true });
  const http = axios.create({ httpAgent: agent });
  const gotten = got.extend({ agent: { http: agent }, retry: { limit: 0 } });
  const grpc = new Users(
    `ipv4:${grpcPorts.map((port) => `127.0.0.1:${port}`).join(',')}`,
    credentials.createInsecure(),
    {
      'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    },
  );

  return [
    {
      name: limit,
      call: () => read(turnOfPools().request({ path, method: 'GET' })),
      close: () => Promise.all(pools.map((pool) => pool.close())),
    },
    {
      name: 'steersman request',
      call: () => read(client.request({ path, method: 'GET' })),
      close: () => client.close(),
    },
    {
      name: 'steersman fetch',
      call: async () => (await wrapped(`http://user-service${path}`)).json(),
      close: () => wrapped.close(),
    },
    {
      name: 'undici BalancedPool',
      call: () => read(balanced.request({ path, method: 'GET' })),
      close: () => balanced.close(),
    },
    {
      name: 'undici RoundRobinPool',
      call: () => read(roundRobin.request({ path, method: 'GET' })),
      close: () => roundRobin.close(),
    },
    {
      name: 'undici dns + retry',
      call: () => read(intercepted.request({ origin: 'http://user-service', path, method: 'GET' })),
      close: () => intercepted.close(),
    },
    {
      name: platformFetch,
      call: async () => (await fetch(`${inTurn()}${path}`)).json(),
      close: () => Promise.resolve(),
    },
    {
      name: 'undici fetch',
      call: async () => (await undiciFetch(`${inTurn()}${path}`)).json(),
      close: () => Promise.resolve(),
    },
    {
      name: 'axios',
      call: async () => (await http.get(`${inTurn()}${path}`)).data,
      close: () => Promise.resolve(),
    },
    { name: 'got', call: () => gotten(`${inTurn()}${path}`).json(), close: async () => agent.destroy() },
    {
      name: 'grpc-js round_robin',
      call: () =>
        new Promise((resolve, reject) => {
          (grpc['get'] as (request: unknown, done: (error: Error | null, value: unknown) => void) => void)(
            { id: 42 },
            (error, value) => (error === null ? resolve(value) : reject(error)),
          );
        }),
      close: async () => grpc.close(),
    },
  ];
}

async function read(pending: Promise<Dispatcher.ResponseData>): Promise<unknown> {
  return (await pending).body.json();
}

function turns<T>(items: readonly T[]): () => T {
  let next = 0;
  return () => items[next++ % items.length] as T;
}
