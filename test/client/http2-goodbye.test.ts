import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { expect, it } from 'vitest';
import { createClient } from '../../src/client/client.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { ca, identity } from '../support/tls.ts';

const streamsPerConnection = 7;
const [data, headers, settings, goaway] = [0x0, 0x1, 0x4, 0x7];
const [endStream, endHeaders, ack] = [0x1, 0x4, 0x1];
const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'.length;
/** `:status: 200`, by its place in HPACK's static table. */
const ok = Buffer.from([0x88]);

/** https://www.rfc-editor.org/rfc/rfc9113#section-4.1 */
function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Answers so many requests, and says goodbye in one breath with the last answer, as nginx does. */
function serve(socket: TLSSocket, answered: (last: boolean) => void): void {
  let received = Buffer.alloc(0);
  let greeted = false;
  let count = 0;
  socket.on('error', () => {});
  socket.on('end', () => socket.destroy());
  socket.write(frame(settings, 0, 0));
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    if (!greeted) {
      if (received.length < preface) return;
      received = received.subarray(preface);
      greeted = true;
    }
    while (received.length >= 9) {
      const end = 9 + received.readUIntBE(0, 3);
      if (received.length < end) return;
      const [type, flags, stream] = [received[3], received[4] as number, received.readUInt32BE(5)];
      received = received.subarray(end);
      if (type === settings && (flags & ack) === 0) socket.write(frame(settings, ack, 0));
      if (type !== headers || ++count > streamsPerConnection) continue;
      const last = count === streamsPerConnection;
      answered(last);
      const answer = [
        frame(headers, endHeaders, stream, ok),
        frame(data, endStream, stream, Buffer.from('taken')),
      ];
      if (!last) socket.write(Buffer.concat(answer));
      else {
        const payload = Buffer.alloc(8);
        payload.writeUInt32BE(stream, 0);
        socket.end(Buffer.concat([...answer, frame(goaway, 0, 0, payload)]));
      }
    }
  });
}

it('an HTTP/2 server that says GOAWAY and ends the connection costs no call, though it does so all the time', async () => {
  let executed = 0;
  let goodbyes = 0;
  const server = createServer(
    { ...identity('orders'), ALPNProtocols: ['h2'], allowHalfOpen: true },
    (socket) =>
      serve(socket, (last) => {
        executed++;
        if (last) goodbyes++;
      }),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = createClient('https://orders.shop', {
    resolver: new FakeResolver([`127.0.0.1:${port}`]),
    tls: { ca },
    pool: { allowH2: true },
    retry: { budget: false },
  });
  const texts: string[] = [];
  const caller = async (method: 'GET' | 'POST'): Promise<void> => {
    for (let i = 0; i < 30; i++) {
      const { body } = await client.request({ path: '/', method });
      texts.push(await body.text());
    }
  };
  const methods = Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? 'GET' : 'POST'));
  await Promise.all(methods.map((method) => caller(method as 'GET' | 'POST')));
  expect(texts).toEqual(Array(300).fill('taken'));
  expect(goodbyes).toBeGreaterThan(30);
  expect(executed).toBe(300);
  await client.close();
  await new Promise((resolve) => server.close(resolve));
});
