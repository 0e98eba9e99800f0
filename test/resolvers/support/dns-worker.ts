import { parentPort, workerData } from 'node:worker_threads';
import { DnsServer } from './dns-server.ts';

const { name, size, heard } = workerData as { name: string; size: number; heard: Int32Array };
const server = await DnsServer.start();
server.addresses(
  name,
  Array.from({ length: size }, (_, i) => `10.1.${i >> 8}.${i & 255}`),
);
server.onAsked = () => {
  Atomics.add(heard, 0, 1);
  Atomics.notify(heard, 0);
};
parentPort?.postMessage(server.address);
