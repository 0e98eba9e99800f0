import { describe, expect, it } from 'vitest';
import { createClient } from '../../src/client/client.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { FakeTransport } from '../../src/testing/fake-transport.ts';
import { endpoint } from '../../src/testing/values.ts';

const identity = { origin: 'http://orders.shop', protocol: 'http:', servername: 'orders.shop' };
const at = endpoint('10.0.0.1:80');

describe('FakeTransport', () => {
  it('is a transport: the client sends every call to the test', async () => {
    const transport = new FakeTransport(({ method, path, body, endpoint: to }) => ({
      status: 201,
      headers: { 'content-type': 'text/plain' },
      body: `${method} ${path} ${body} ${to.address}`,
    }));
    const client = createClient('http://orders.shop', {
      resolver: new FakeResolver(['10.0.0.1:80']),
      transport,
    });
    const response = await client.fetch('/a', { method: 'POST', body: 'b' });
    expect(response.status).toBe(201);
    expect(response.headers.get('content-type')).toBe('text/plain');
    expect(await response.text()).toBe('POST /a b 10.0.0.1');
    expect(transport.served()).toEqual({ '10.0.0.1:80': 1 });
    expect(transport.requests[0]).toMatchObject({ method: 'POST', path: '/a', body: 'b', service: identity });
    expect(transport.open).toBe(1);
    await client.close();
    expect(transport.open).toBe(0);
  });

  it('refuses before anything is sent', async () => {
    const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    const transport = new FakeTransport(() => ({ refuse: refused }));
    const dispatcher = transport(identity, at);
    await expect(dispatcher.request({ origin: 'http://orders.shop', path: '/', method: 'GET' })).rejects.toBe(
      refused,
    );
    expect(transport.requests).toEqual([]);
  });

  it('resets after the request was sent', async () => {
    const reset = Object.assign(new Error('reset'), { code: 'ECONNRESET' });
    const transport = new FakeTransport(() => ({ reset }));
    const dispatcher = transport(identity, at);
    await expect(dispatcher.request({ origin: 'http://orders.shop', path: '/', method: 'GET' })).rejects.toBe(
      reset,
    );
    expect(transport.requests).toHaveLength(1);
  });

  it('has sent what a hanging server was asked: it may have been done', async () => {
    const transport = new FakeTransport(() => new Promise(() => {}));
    const resolver = new FakeResolver(['10.0.0.1:80', '10.0.0.2:80']);
    const options = { timeout: { attempt: 20, total: 5_000 }, pool: { drainTimeout: 0 } };
    await using client = createClient('http://orders.shop', { resolver, transport, ...options });
    await expect(client.request({ path: '/', method: 'POST', body: 'once' })).rejects.toMatchObject({
      code: 'UND_ERR_HEADERS_TIMEOUT',
      attempts: [{ class: 'ambiguous' }],
    });
    expect(transport.requests).toHaveLength(1);
  });

  it.each([
    [undefined, 'options must be an object, got undefined'],
    ['text', 'options must be an object, got "text"'],
    [{ error: new Error('x') }, 'unknown option error: known are status, headers, body, refuse, reset'],
    [{ status: 100 }, 'option status must be between 200 and 599, got 100'],
    [{ body: { a: 1 } }, 'option body must be a string or a Buffer, got object'],
    [{ refuse: 'no' }, 'option refuse must be an Error, got no'],
  ])('says what is wrong with a reply: %j', async (reply, message) => {
    const transport = new FakeTransport(() => reply as never);
    const resolver = new FakeResolver(['10.0.0.1:80']);
    await using client = createClient('http://orders.shop', { resolver, transport, retry: false });
    await expect(client.request('/')).rejects.toThrow(`reply of the fake server: ${message}`);
  });

  it('can change its mind', async () => {
    const transport = new FakeTransport();
    const dispatcher = transport(identity, at);
    const get = { origin: 'http://orders.shop', path: '/', method: 'GET' as const };
    expect((await dispatcher.request(get)).statusCode).toBe(200);
    transport.respond(() => ({ status: 503 }));
    expect((await dispatcher.request(get)).statusCode).toBe(503);
  });

  it('closes when the call in flight has ended, and destroys it otherwise', async () => {
    const transport = new FakeTransport(() => new Promise(() => {}));
    const dispatcher = transport(identity, at);
    const call = dispatcher.request({ origin: 'http://orders.shop', path: '/', method: 'GET' });
    const failed = expect(call).rejects.toMatchObject({ code: 'UND_ERR_DESTROYED' });
    await dispatcher.destroy();
    await failed;
    expect(transport.open).toBe(0);
  });
});
