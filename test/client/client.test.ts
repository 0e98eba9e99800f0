import { describe, expect, it } from 'vitest';
import { createClient } from '../../src/client/client.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { FakeTransport } from '../../src/testing/fake-transport.ts';
import { endpoint } from '../../src/testing/values.ts';
import { inOrder } from '../support/script.ts';

function make(options: Parameters<typeof createClient>[1] = {}) {
  const transport = new FakeTransport(({ path }) => ({ body: path }));
  const resolver = new FakeResolver(['10.0.0.1:80', '10.0.0.2:80']);
  const client = createClient('http://orders.shop:8080', {
    resolver,
    transport,
    balancer: inOrder,
    ...options,
  });
  return { client, transport, resolver };
}

describe('createClient', () => {
  it('fetches and requests paths of its service', async () => {
    const { client, transport } = make();
    expect(await (await client.fetch('/a?b#c')).text()).toBe('/a?b');
    expect(await (await client.fetch(new URL('http://orders.shop:8080/u'))).text()).toBe('/u');
    expect(
      await (
        await client.fetch(new Request('http://orders.shop:8080/r', { method: 'POST', body: 'x' }))
      ).text(),
    ).toBe('/r');
    expect(await (await client.request('/s')).body.text()).toBe('/s');
    expect(transport.requests.map(({ method }) => method)).toEqual(['GET', 'GET', 'POST', 'GET']);
    await client.close();
    expect(transport.open).toBe(0);
  });

  it('fetches nothing where the path is missing', async () => {
    const { client, transport } = make();
    for (const missing of [undefined, null])
      await expect(client.fetch(missing as never)).rejects.toThrow(`fetch needs a path, a URL or a Request`);
    expect(transport.requests).toEqual([]);
    await client.close();
  });

  it('is ready when the first set is there, and says why it is not', async () => {
    const resolver = new FakeResolver();
    const { client } = make({ resolver, timeout: { resolve: 50 } });
    await expect(client.ready()).rejects.toMatchObject({ code: 'STEERSMAN_ERR_RESOLVE' });
    const reason = new Error('enough');
    const controller = new AbortController();
    const aborted = client.ready({ signal: controller.signal });
    controller.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    const ready = client.ready();
    resolver.set([]);
    await ready;
    await client.close();
    await expect(client.ready()).rejects.toMatchObject({ code: 'STEERSMAN_ERR_CLOSED' });
  });

  it.each([
    null,
    'response',
    {},
    { kind: 'response', latency: 1 },
    { kind: 'response', status: 200 },
    { kind: 'error', error: new Error('x'), sent: true, latency: Number.NaN },
    { kind: 'response', status: 200, latency: Number.POSITIVE_INFINITY },
  ])('takes no outcome that is none: %j', async (outcome) => {
    const { client } = make();
    const lease = await client.pick();
    expect(() => lease.release(outcome as never)).toThrow(
      "an outcome is { kind: 'response', status, latency }",
    );
    lease.release();
    expect(client.snapshot().endpoints[0]).toMatchObject({ inflight: 0, failures: 0, latency: undefined });
    await client.close();
  });

  it('leases an endpoint, counts it, and judges it by how the lease ends', async () => {
    const { client } = make({ circuit: { endpoint: { consecutive: 1 } } });
    const lease = await client.pick({ hashKey: 'a' });
    expect(lease.endpoint.id).toBe('10.0.0.1:80');
    const first = () => client.snapshot().endpoints[0];
    expect(first()?.inflight).toBe(1);
    lease.release({ kind: 'error', error: new Error('broken'), sent: true, latency: 3 });
    lease.release();
    lease[Symbol.dispose]();
    expect(first()).toMatchObject({ inflight: 0, failures: 1, state: 'ejected' });
    {
      using other = await client.pick();
      expect(other.endpoint.id).toBe('10.0.0.2:80');
    }
    expect(client.snapshot().endpoints[1]?.inflight).toBe(0);
    await client.close();
    await expect(client.pick()).rejects.toMatchObject({ code: 'STEERSMAN_ERR_CLOSED' });
  });

  it('takes new options while it runs, and keeps what it has learned', async () => {
    const { client, transport, resolver } = make();
    await (await client.request('/')).body.dump();
    const before = client.snapshot().endpoints[0];
    client.update({ retry: false, timeout: { total: 50 } });
    expect(client.snapshot().endpoints[0]).toMatchObject({ calls: before?.calls, latency: before?.latency });
    transport.respond(() => new Promise(() => {}));
    await expect(client.request('/')).rejects.toThrow(/deadline of 50 ms/);
    expect(() => client.update({ nonsense: 1 } as never)).toThrow(/unknown option nonsense/);
    expect(() => client.update({ port: 1 })).toThrow(/port of a running client cannot be changed/);
    expect(resolver.watches).toBe(1);
    await client.close();
    expect(resolver.watches).toBe(0);
  });

  it('takes new options key by key, in groups too', async () => {
    const { client, transport } = make();
    client.update({ timeout: { total: 50 } });
    client.update({ timeout: { attempt: 10_000 } });
    transport.respond(() => new Promise(() => {}));
    await expect(client.request('/')).rejects.toThrow(/deadline of 50 ms/);
    await client.close();
  });

  it('hears of an event once, or until it is told not to', async () => {
    const { client, resolver } = make();
    const heard: string[] = [];
    const listener = (): unknown => heard.push('on');
    client.once('endpoints', () => heard.push('once'));
    client.on('endpoints', listener);
    await client.ready();
    resolver.set([endpoint('10.0.9.9:80')]);
    client.off('endpoints', listener);
    resolver.set([endpoint('10.0.9.8:80')]);
    expect(heard).toEqual(['once', 'on', 'on']);
    await client.close();
  });

  it('takes a hash key that is a number, as ids in JavaScript are', async () => {
    const keys: unknown[] = [];
    const { client } = make({
      balancer: {
        pick(backends, { hashKey }) {
          keys.push(hashKey);
          return backends[0];
        },
      },
    });
    await (await client.request({ path: '/', hashKey: 7 as never })).body.dump();
    await (await client.request({ path: '/', hashKey: null as never })).body.dump();
    (await client.pick({ hashKey: 7 as never })).release();
    expect(keys).toEqual(['7', undefined, '7']);
    await client.close();
  });

  it('moves to another resolver without a gap', async () => {
    const { client, transport, resolver } = make();
    await client.ready();
    const next = new FakeResolver();
    client.update({ resolver: next });
    await (await client.request('/')).body.dump();
    next.set([endpoint('10.0.9.9:80')]);
    await expect
      .poll(() => client.snapshot().endpoints.map((entry) => entry.endpoint.id))
      .toEqual(['10.0.9.9:80']);
    await (await client.request('/')).body.dump();
    expect(transport.served()).toEqual({ '10.0.0.1:80': 1, '10.0.9.9:80': 1 });
    expect(resolver.watches).toBe(0);
    await client.close();
  });

  it('moves at once from a resolver that refuses to watch to one that does not', async () => {
    const { client } = make();
    await client.ready();
    const refuses = {
      watch() {
        throw new Error('no such target');
      },
    };
    client.update({ resolver: refuses });
    const next = new FakeResolver(['10.0.9.9:80']);
    client.update({ resolver: next });
    expect(next.watches).toBe(1);
    await client.close();
    expect(next.watches).toBe(0);
  });

  it('closes once, however often and at whatever time it is told to', async () => {
    const { client, resolver } = make();
    const running = client.request('/');
    await Promise.all([client.close(), client.close(), client[Symbol.asyncDispose]()]);
    await running.then(
      ({ body }) => body.dump(),
      (error) => expect(error).toMatchObject({ code: 'STEERSMAN_ERR_CLOSED' }),
    );
    await client.close();
    expect(resolver.watches).toBe(0);
  });

  it('refuses durations, shares and counts that make no sense', () => {
    for (const options of [
      { timeout: { total: -1 } },
      { timeout: { attempt: Number.NaN } },
      { timeout: { header: 'no spaces' } },
      { timeout: { header: 'evil\r\nx: y' } },
      { retry: { attempts: 0 } },
      { retry: { statuses: [200] } },
      { retry: { budget: { ratio: 2 } } },
      { hedge: {} },
      { hedge: { delay: 0 } },
      { hedge: { percentile: 1 } },
      { queue: { endpoint: -1 } },
      { queue: { total: 0.5 } },
      { pool: { connections: 0 } },
      { panicThreshold: 1.1 },
      { slowStart: -5 },
    ]) {
      expect(() => createClient('http://orders.shop', options as never), JSON.stringify(options)).toThrow(
        /^createClient: option /,
      );
    }
  });
});
