import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { UpgradingPool } from '../../src/client/upgrading-pool.ts';
import { Pool } from '../../src/undici/index.ts';

let server: Server;
let origin: string;
let made: Pool[];

beforeEach(async () => {
  server = createServer((request, response) => {
    if (request.url !== '/hang') response.end();
  });
  server.on('upgrade', (_, socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  made = [];
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const pool = (): Pool => {
  const one = new Pool(origin);
  made.push(one);
  return one;
};

const upgraded = async (both: UpgradingPool): Promise<void> => {
  const { socket } = await both.upgrade({ path: '/', protocol: 'echo' });
  socket.destroy();
};

it('makes the pool of upgrades when it is first needed, and for calls that refuse HTTP/2', async () => {
  const both = new UpgradingPool(pool(), pool);
  const get = { origin, path: '/', method: 'GET' } as const;
  await (await both.request(get)).body.dump();
  expect(made.length).toBe(1);
  await (await both.request({ ...get, allowH2: false } as never)).body.dump();
  await upgraded(both);
  expect(made.length).toBe(2);
  await both.close();
  expect(made.map(({ destroyed }) => destroyed)).toEqual([true, true]);
});

it('makes none once it is closed', async () => {
  const both = new UpgradingPool(pool(), pool);
  await both.close();
  await expect(upgraded(both)).rejects.toMatchObject({ code: 'UND_ERR_DESTROYED' });
  expect(made.length).toBe(1);
});

it('destroys both, and cuts what is in flight', async () => {
  const both = new UpgradingPool(pool(), pool);
  await upgraded(both);
  const hung = once(server, 'request');
  const call = both.request({ origin, path: '/hang', method: 'GET' });
  const failed = expect(call).rejects.toThrow('cut');
  await hung;
  await both.destroy(new Error('cut'));
  await failed;
  expect(made.map(({ destroyed }) => destroyed)).toEqual([true, true]);
});
