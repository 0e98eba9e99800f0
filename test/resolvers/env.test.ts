import { afterEach, describe, expect, it, vi } from 'vitest';
import { ResolveError } from '../../src/core/errors.ts';
import { env } from '../../src/resolvers/env.ts';
import { watching } from './support/watching.ts';

const own = vi.hoisted(() => ({ namespace: undefined as string | undefined }));
vi.mock(import('../../src/resolvers/kubernetes/namespace.ts'), async (original) => ({
  ...(await original()),
  ownNamespace: () => own.namespace,
}));
afterEach(() => {
  own.namespace = undefined;
});

const variables = {
  USER_SERVICE_SERVICE_HOST: '10.96.0.7',
  USER_SERVICE_SERVICE_PORT: '8080',
  USER_SERVICE_SERVICE_PORT_HTTP_ADMIN: '9090',
  V6_SERVICE_HOST: 'fd00:0::7',
  V6_SERVICE_PORT: '80',
  BAD_SERVICE_HOST: 'bad.example',
  ODD_SERVICE_HOST: '10.96.0.8',
  ODD_SERVICE_PORT: 'tcp://10.96.0.8:80',
  EMPTY_SERVICE_HOST: '',
};

describe('env', () => {
  it.each([
    ['user-service', undefined, '10.96.0.7:8080'],
    ['user-service.shop', undefined, '10.96.0.7:8080'],
    ['user-service.shop.svc.cluster.local', 'http-admin', '10.96.0.7:9090'],
    ['User-Service', 'http-admin', '10.96.0.7:9090'],
    ['user-service', 3_000, '10.96.0.7:3000'],
    ['v6', undefined, '[fd00::7]:80'],
  ])('%s, port %s', async (host, port, id) => {
    const { set, infos } = watching(env(variables), { host, port: port as never });
    expect(await set(1)).toEqual([id]);
    expect(infos).toEqual([{ source: 'env' }]);
  });

  it.each([
    ['nobody', undefined, /environment variable NOBODY_SERVICE_HOST is not set/],
    ['empty', undefined, /environment variable EMPTY_SERVICE_HOST is not set/],
    ['user-service', 'grpc', /environment variable USER_SERVICE_SERVICE_PORT_GRPC is not set/],
    ['bad', undefined, /environment variable BAD_SERVICE_HOST is not an IP address: "bad\.example"/],
    ['odd', undefined, /environment variable ODD_SERVICE_PORT is not a port: "tcp:/],
    ['constructor', undefined, /environment variable CONSTRUCTOR_SERVICE_HOST is not set/],
  ])('%s, port %s: names the variable', async (host, port, message) => {
    const { error, sets } = watching(env(variables), { host, port: port as never });
    const told = await error(1);
    expect(told).toBeInstanceOf(ResolveError);
    expect(told.message).toMatch(message);
    expect(sets).toEqual([]);
  });

  it('knows the Services of its own namespace only', async () => {
    own.namespace = 'shop';
    const read = (host: string): ReturnType<typeof watching> => watching(env(variables), { host });
    expect(await read('user-service.shop').set(1)).toHaveLength(1);
    expect(await read('user-service').set(1)).toHaveLength(1);
    const told = await read('user-service.bank.svc.cluster.local').error(1);
    expect(told).toBeInstanceOf(ResolveError);
    expect(told.message).toContain('environment variables are those of namespace shop only');
  });

  it('refuses a host that cannot be a name', () => {
    expect(() => watching(env(variables), { host: 'a b' })).toThrow(TypeError);
    expect(() => watching(env(variables), { host: '10.0.0.1' })).toThrow(/is an IP address/);
  });

  it('refuses variables that are none', () => {
    for (const variables of [null, 5, []])
      expect(() => env(variables as never)).toThrow(/variables of env must be an object/);
  });

  it('reads the process by default', async () => {
    expect((await watching(env(), { host: 'no-such-service-here' }).error(1)).message).toContain(
      'NO_SUCH_SERVICE_HERE_SERVICE_HOST',
    );
  });
});
