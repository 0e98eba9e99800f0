/** gRPC servers for the benchmark. Tells its ports to the process that started it. */
import { Server, ServerCredentials, type sendUnaryData } from '@grpc/grpc-js';
import { definition } from './grpc.ts';
import { answer } from './servers.ts';

const value: unknown = JSON.parse(answer);
const ports: number[] = [];
for (let i = 0; i < Number(process.argv[2]); i++) {
  const server = new Server();
  server.addService(definition, { get: (_: unknown, done: sendUnaryData<unknown>) => done(null, value) });
  ports.push(
    await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    }),
  );
}
process.send?.(ports);
process.on('disconnect', () => process.exit());
