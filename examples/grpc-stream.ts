// gRPC streams: each goes to the endpoint that has the fewest of them, and counts there until it ends.
import { Client as Channel, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { createClient, fixed, leastConnection } from 'steersman';

const bytes = (text: string): Buffer => Buffer.from(text);
const path = '/clock.Clock/Tick';
const servers = [new Server(), new Server()];
const bound = servers.map((server) => {
  const codec = { requestSerialize: bytes, requestDeserialize: String, responseSerialize: bytes };
  const tick = { path, requestStream: false, responseStream: true, ...codec, responseDeserialize: String };
  server.addService({ tick }, { tick: (stream: { write(text: string): void }) => stream.write('tick') });
  return new Promise<number>((resolve) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (_, port) => resolve(port));
  });
});
const endpoints = (await Promise.all(bound)).map((port) => `127.0.0.1:${port}`);

const clock = createClient('http://clock.shop', { resolver: fixed(endpoints), balancer: leastConnection() });
const channels = new Map(endpoints.map((at) => [at, new Channel(at, credentials.createInsecure())]));
const inflight = (): string => String(clock.snapshot().endpoints.map((endpoint) => endpoint.inflight));

const streams = [1, 2].map(async () => {
  const { endpoint, release } = await clock.pick();
  const channel = channels.get(`${endpoint.address}:${endpoint.port}`) as Channel;
  const stream = channel.makeServerStreamRequest(path, bytes, String, 'start');
  const ended = new Promise((resolve) => stream.once('status', resolve)).then(() => release());
  stream.on('error', () => {});
  await new Promise((resolve) => stream.once('data', resolve));
  return { cancel: () => stream.cancel(), ended };
});
for (const { cancel, ended } of await Promise.all(streams)) {
  console.log(inflight());
  cancel();
  await ended;
}
for (const channel of channels.values()) channel.close();
for (const server of servers) server.forceShutdown();
await clock.close();
