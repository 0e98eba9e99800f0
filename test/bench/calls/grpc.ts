import { makeGenericClientConstructor, type ServiceDefinition } from '@grpc/grpc-js';

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const parse = (bytes: Buffer): unknown => JSON.parse(bytes.toString());

/** One unary method that carries JSON, so that no code generation is needed. */
export const definition: ServiceDefinition = {
  get: {
    path: '/bench.Users/Get',
    requestStream: false,
    responseStream: false,
    requestSerialize: json,
    requestDeserialize: parse,
    responseSerialize: json,
    responseDeserialize: parse,
  },
};

export const Users: ReturnType<typeof makeGenericClientConstructor> = makeGenericClientConstructor(
  definition,
  'Users',
);
