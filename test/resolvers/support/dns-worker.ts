import { parentPort, workerData } from 'node:worker_threads';
import { DnsServer } from './dns-server.ts';

const { name, size } = workerData as { name: string; size: number };
const server = await DnsServer.start();
server.addresses(
  name,
  Array.from({ length: size }, (_, i) => `10.1.${i >> 8}.${i & 255}`),
);
parentPort?.postMessage(server.address);
