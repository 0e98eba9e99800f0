import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { LiveBackend } from '../../src/client/backend.ts';
import type { CallDispatchOptions } from '../../src/client/call.ts';
import { headerValue } from '../../src/client/failure.ts';
import type { ServiceOptions } from '../../src/client/options.ts';
import { fullJitter } from '../../src/client/retry.ts';
import { type Caller, type Exchange, errno, Script } from '../support/script.ts';

/** Plays each attempt as it comes until the call has ended. */
async function play(
  script: Script,
  options: Partial<CallDispatchOptions>,
  each: (exchange: Exchange, n: number) => void,
): Promise<Caller> {
  const caller = script.call(options);
  await script.settle();
  for (let n = 0; caller.ends === 0 && n < 30; n++) {
    const exchange = script.exchanges[n];
    if (exchange !== undefined) each(exchange, n);
    await script.clock.advance(300);
  }
  return caller;
}

const unsent = (exchange: Exchange): unknown => exchange.fail(errno('ECONNREFUSED'));
const ambiguous = (exchange: Exchange): unknown => exchange.send().fail(errno('ECONNRESET'));
const refused = (exchange: Exchange): unknown =>
  exchange.send().fail(Object.assign(errno('ERR_HTTP2_STREAM_ERROR'), { http2ErrorCode: 7 }));
const leftOut = (exchange: Exchange): unknown =>
  exchange
    .send()
    .fail(Object.assign(new Error('HTTP/2: "GOAWAY" frame received with code 0'), { code: 'UND_ERR_INFO' }));
const used = (script: Script): string[] => script.exchanges.map(({ endpoint }) => endpoint.id);

describe('what was not sent', () => {
  it('goes to another endpoint at once, whatever the method, and outside the budget', async () => {
    const none: ServiceOptions = { retry: { budget: { ratio: 0, minPerSecond: 0 } } };
    for (const method of ['GET', 'POST', 'PATCH', 'DELETE'] as const) {
      const script = new Script(5, none);
      const caller = script.call({ method });
      await script.settle();
      for (let i = 0; i < 3; i++) {
        unsent(script.last);
        await script.settle();
      }
      script.last.answer();
      expect(caller.status).toBe(200);
      expect(new Set(used(script)).size).toBe(4);
      expect(script.resolver.refreshes).toBe(3);
      await script.service.close();
    }
  });

  it('hops three times at most, and then waits like the rest', async () => {
    const script = new Script(10);
    const caller = await play(script, { method: 'POST' }, unsent);
    expect(script.exchanges).toHaveLength(6);
    expect(caller.error).toMatchObject({ code: 'ECONNREFUSED' });
    expect(caller.error?.attempts?.map((attempt) => attempt.class)).toEqual(Array(6).fill('unsent'));
    await script.service.close();
  });

  it('goes to an ejected endpoint when no other can be reached, and ends there', async () => {
    const script = new Script(3);
    for (let i = 0; i < 5; i++) {
      script.call({ method: 'POST' });
      await script.settle();
      ambiguous(script.last);
    }
    expect(script.count('ejected')).toBe(1);
    const before = script.exchanges.length;
    for (const answers of [true, false]) {
      script.exchanges.splice(before);
      const caller = script.call({ method: 'POST' });
      unsent(script.last);
      await script.settle();
      unsent(script.last);
      await script.settle();
      expect(used(script).slice(before)).toEqual(['10.0.0.2:80', '10.0.0.3:80', '10.0.0.1:80']);
      if (answers) script.last.answer();
      else ambiguous(script.last);
      await script.settle();
      expect(caller).toMatchObject(answers ? { status: 200 } : { error: { code: 'ECONNRESET' } });
    }
    await script.service.close();
  });

  it('goes straight to the ejected endpoint then, wherever that is in the set', async () => {
    const script = new Script(3);
    await script.settle();
    const tried = new Set<LiveBackend>();
    for (let i = 0; i < 2; i++) tried.add(script.service.pick({ tried }) as LiveBackend);
    const last = script.service.pick({ tried }) as LiveBackend;
    for (let i = 0; i < 5; i++) script.service.report(last, true, 0);
    expect(script.count('ejected')).toBe(1);
    const caller = await play(script, { method: 'POST' }, (exchange, n) =>
      n < 2 ? unsent(exchange) : exchange.answer(),
    );
    expect(used(script)).toEqual(['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80']);
    expect(caller.status).toBe(200);
    await script.service.close();
  });

  it('leaves ejected endpoints alone while another was reached, until that has failed twice', async () => {
    const script = new Script(2);
    for (let i = 0; i < 5; i++) {
      script.call({ method: 'POST' });
      await script.settle();
      ambiguous(script.last);
    }
    const before = script.exchanges.length;
    const caller = await play(script, {}, (exchange, n) => {
      if (n >= before) ambiguous(exchange);
    });
    expect(caller.error?.code).toBe('ECONNRESET');
    expect(used(script).slice(before)).toEqual(['10.0.0.2:80', '10.0.0.2:80', '10.0.0.1:80']);
    await script.service.close();
  });

  it('is tried again at the only endpoint there is', async () => {
    const script = new Script(1);
    const caller = await play(script, { method: 'POST' }, (exchange, n) =>
      n < 2 ? unsent(exchange) : exchange.answer(),
    );
    expect(caller.status).toBe(200);
    expect(script.exchanges).toHaveLength(3);
    await script.service.close();
  });

  it('still hops with one attempt, and not with retries off', async () => {
    const one = new Script(3, { retry: { attempts: 1 } });
    const hopped = await play(one, { method: 'POST' }, (exchange, n) =>
      n === 0 ? unsent(exchange) : exchange.answer(),
    );
    expect(hopped.status).toBe(200);
    await one.service.close();

    const off = new Script(3, { retry: false });
    const failed = await play(off, {}, unsent);
    expect(off.exchanges).toHaveLength(1);
    expect(failed.error?.code).toBe('ECONNREFUSED');
    await off.service.close();
  });
});

describe('what the peer refused', () => {
  it.each([
    ['reset the stream', refused],
    ['left it out of its GOAWAY', leftOut],
  ])('as it %s, goes elsewhere at once, whatever the method', async (_, refuse) => {
    const script = new Script(2);
    const caller = script.call({ method: 'POST' });
    await script.settle();
    refuse(script.last);
    await script.settle();
    script.last.answer();
    expect(caller.status).toBe(200);
    expect(new Set(used(script)).size).toBe(2);
    await script.service.close();
  });

  it('does not go on for ever', async () => {
    const script = new Script(5);
    const caller = await play(script, { method: 'POST' }, refused);
    expect(script.exchanges).toHaveLength(4);
    expect(caller.error?.code).toBe('ERR_HTTP2_STREAM_ERROR');
    expect(caller.error?.attempts?.[0]).toMatchObject({ class: 'refused', phase: 'sent' });
    await script.service.close();
  });
});

describe('what may have been done already', () => {
  it.each(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'] as const)('is repeated for %s', async (method) => {
    const script = new Script(3);
    const caller = await play(script, { method }, (exchange, n) =>
      n < 2 ? ambiguous(exchange) : exchange.answer(),
    );
    expect(caller.status).toBe(200);
    expect(new Set(used(script)).size).toBe(3);
    await script.service.close();
  });

  it.each<[string, Partial<CallDispatchOptions>]>([
    ['POST', { method: 'POST' }],
    ['PATCH', { method: 'PATCH' }],
    ['POST with a body', { method: 'POST', body: 'x' }],
    ['a GET with idempotent: false', { idempotent: false }],
  ])('is never repeated for %s', async (_, options) => {
    const script = new Script(3);
    const caller = await play(script, options, ambiguous);
    expect(script.exchanges).toHaveLength(1);
    expect(caller.error).toMatchObject({
      code: 'ECONNRESET',
      attempts: [{ class: 'ambiguous', phase: 'sent' }],
    });
    await script.service.close();
  });

  it.each<[string, Partial<CallDispatchOptions>]>([
    ['idempotent: true', { idempotent: true }],
    ['an Idempotency-Key', { headers: { 'Idempotency-Key': 'a' } }],
    ['an Idempotency-Key in an array', { headers: ['accept', 'a', 'idempotency-key', 'a'] }],
    ['an X-Idempotency-Key', { headers: new Map([['x-idempotency-key', 'a']]) }],
  ])('is repeated for a POST with %s', async (_, options) => {
    const script = new Script(3);
    const caller = await play(script, { method: 'POST', ...options }, (exchange, n) =>
      n === 0 ? ambiguous(exchange) : exchange.answer(),
    );
    expect(caller.status).toBe(200);
    await script.service.close();
  });

  it('stops when the budget is used up', async () => {
    const script = new Script(3, { retry: { budget: { ratio: 0, minPerSecond: 0.1, window: 10_000 } } });
    await play(script, {}, (exchange, n) => (n === 0 ? ambiguous(exchange) : exchange.answer()));
    expect(script.exchanges).toHaveLength(2);
    const second = script.call();
    ambiguous(script.last);
    await script.clock.advance(300);
    expect(second.error?.code).toBe('ECONNRESET');
    expect(script.exchanges).toHaveLength(3);
    await script.service.close();
  });
});

describe('a retry', () => {
  const marks = (script: Script): (string | undefined)[] =>
    script.exchanges.map(({ options }) => headerValue(options.headers, 'x-retry-attempt'));

  it('says how many attempts may have reached an endpoint before it', async () => {
    const script = new Script(3, { retry: { attempts: 4 } });
    const headers = ['accept', 'text/plain'];
    await play(script, { headers }, (exchange, n) => {
      if (n === 0) exchange.fail(errno('ECONNREFUSED'));
      else if (n === 1) exchange.send().fail(errno('ECONNRESET'));
      else exchange.answer(n === 2 ? 503 : 200);
    });
    expect(marks(script)).toEqual([undefined, undefined, '1', '2']);
    expect(headers).toEqual(['accept', 'text/plain']);
    await script.service.close();
  });

  it('keeps what the caller says', async () => {
    const script = new Script(3);
    const headers = { 'X-Retry-Attempt': '7' };
    await play(script, { headers }, (exchange, n) => exchange.answer(n === 0 ? 503 : 200));
    expect(marks(script)).toEqual(['7', '7']);
    await script.service.close();
  });
});

describe('answers that are retried', () => {
  it('are discarded and drained, and the next one counts', async () => {
    const script = new Script(3);
    const caller = script.call();
    await script.settle();
    const first = script.last.send().head(503);
    await script.clock.advance(300);
    expect(script.exchanges).toHaveLength(2);
    script.last.send().head(200);
    first.data('sorry').end();
    script.last.data('fine').end();
    expect(caller).toMatchObject({ status: 200, body: 'fine', ends: 1 });
    expect(script.service.snapshot().endpoints[0]).toMatchObject({ failures: 1, inflight: 0 });
    await script.service.close();
  });

  it('are cut when they are long, or slow', async () => {
    const script = new Script(3);
    script.call();
    await script.settle();
    const first = script.last.send().head(503);
    for (let i = 0; i < 3; i++) first.data(Buffer.alloc(64 * 1024));
    expect(first.aborted).toBe(true);
    await script.clock.advance(300);
    const second = script.last.send().head(503);
    await script.clock.advance(999);
    expect(second.aborted).toBe(false);
    await script.clock.advance(1);
    expect(second.aborted).toBe(true);
    script.last.answer();
    await script.service.close();
    expect(script.clock.pending).toBe(0);
  });

  it('reach the caller when retries end: the last one', async () => {
    const script = new Script(2);
    const caller = await play(script, {}, (exchange, n) => exchange.answer(n === 2 ? 502 : 503));
    expect(script.exchanges).toHaveLength(3);
    expect(caller).toMatchObject({ status: 502, ended: true });
    await script.service.close();
  });

  it('reach the caller at once when the method may not run twice', async () => {
    const script = new Script(2);
    const caller = await play(script, { method: 'POST', body: 'x' }, (exchange) => exchange.answer(503));
    expect(script.exchanges).toHaveLength(1);
    expect(caller.status).toBe(503);
    await script.service.close();
  });

  it.each([
    ['1', 1_000],
    ['0', 0],
    ['Tue, 14 Nov 2023 22:13:22 GMT', 2_000],
    ['Tue, 14 Nov 2000 22:13:22 GMT', 0],
    ['-1', 0],
    ['soon', 0],
    ['', 0],
    ['1e3', 0],
  ])('say when to come back: Retry-After %j', async (value, least) => {
    const script = new Script(3, { retry: { backoff: { min: 0, max: 0 } } });
    script.call();
    await script.settle();
    script.last.answer(503, { 'retry-after': value });
    if (least > 0) {
      await script.clock.advance(least - 1);
      expect(script.exchanges).toHaveLength(1);
    }
    await script.clock.advance(2);
    expect(script.exchanges).toHaveLength(2);
    script.last.answer();
    await script.service.close();
  });

  it.each(['11', '3600', '31536000', '99999999999999999999', 'Tue, 14 Nov 2033 22:13:22 GMT'])(
    'that ask for too long are the caller’s at once: Retry-After %j',
    async (value) => {
      const script = new Script(3, { timeout: { total: 60_000 } });
      const caller = script.call();
      await script.settle();
      script.last.answer(503, { 'retry-after': value });
      expect(caller.status).toBe(503);
      await script.service.close();
    },
  );

  it('that ask for longer than the deadline are the caller’s at once', async () => {
    const script = new Script(3, { timeout: { total: 2_000 } });
    const caller = script.call();
    await script.settle();
    script.last.answer(503, { 'retry-after': '3' });
    expect(caller.status).toBe(503);
    await script.service.close();
  });

  it('that refuse to be retried are the caller’s', async () => {
    const script = new Script(3);
    const caller = script.call();
    await script.settle();
    script.last.answer(503, { 'x-no-retry': '1' });
    expect(caller.status).toBe(503);
    await script.service.close();
  });

  it('are those of the option', async () => {
    const script = new Script(3, { retry: { statuses: [429] } });
    const caller = await play(script, {}, (exchange, n) => exchange.answer(n === 0 ? 429 : 503));
    expect(caller.status).toBe(503);
    expect(script.exchanges).toHaveLength(2);
    await script.service.close();
  });
});

describe('when every endpoint has been tried', () => {
  it('those that answered come before those that could not be reached', async () => {
    const script = new Script(2, { retry: { attempts: 4 } });
    const caller = await play(script, {}, (exchange, n) => {
      if (exchange.endpoint.id === '10.0.0.1:80') unsent(exchange);
      else exchange.answer(n < 3 ? 503 : 200);
    });
    expect(used(script)).toEqual(['10.0.0.1:80', ...Array(3).fill('10.0.0.2:80')]);
    expect(caller.status).toBe(200);
    await script.service.close();
  });

  it('the last one comes last', async () => {
    const script = new Script(2, { retry: { attempts: 5 } });
    await play(script, {}, ambiguous);
    expect(used(script).map((id) => id[7])).toEqual(['1', '2', '1', '2', '1']);
    await script.service.close();
  });
});

describe('a timeout per attempt', () => {
  it('sends an idempotent call elsewhere, within the total deadline', async () => {
    const script = new Script(3, { timeout: { attempt: 100, total: 1_000 } });
    const caller = script.call();
    await script.settle();
    const first = script.last.send();
    await script.clock.advance(108 + 25);
    expect(first.aborted).toBe(true);
    expect(script.exchanges).toHaveLength(2);
    script.last.answer();
    expect(caller.status).toBe(200);
    await script.service.close();
  });

  it('ends a POST, which may have been done', async () => {
    const script = new Script(3, { timeout: { attempt: 100 } });
    const caller = script.call({ method: 'POST' });
    await script.settle();
    script.last.send();
    await script.clock.advance(110);
    expect(caller.error).toMatchObject({
      code: 'UND_ERR_HEADERS_TIMEOUT',
      attempts: [{ class: 'ambiguous' }],
    });
    expect(script.exchanges).toHaveLength(1);
    await script.service.close();
  });

  it('sends a POST elsewhere that was not sent yet', async () => {
    const script = new Script(3, { timeout: { attempt: 100 } });
    const caller = script.call({ method: 'POST' });
    await script.settle();
    const first = script.last;
    await script.clock.advance(110);
    expect(script.exchanges).toHaveLength(2);
    // Too late: it must not reach the wire any more.
    first.send();
    expect(first.ended).toBe(true);
    script.last.answer();
    expect(caller.status).toBe(200);
    await script.service.close();
  });
});

describe('the end of retries', () => {
  it('is the last real error, though there is nobody left to ask', async () => {
    const script = new Script(1);
    const caller = script.call();
    await script.settle();
    ambiguous(script.last);
    script.resolver.set([]);
    await script.clock.advance(300);
    expect(caller.error).toMatchObject({ code: 'ECONNRESET', attempts: [{ code: 'ECONNRESET' }] });
    await script.service.close();
  });

  it('names every attempt in the deadline’s error', async () => {
    const script = new Script(2, { timeout: { total: 500 } });
    const caller = script.call();
    await script.settle();
    ambiguous(script.last);
    await script.clock.advance(100);
    script.last.send();
    await script.clock.advance(500);
    expect(caller.error).toMatchObject({
      code: 'STEERSMAN_ERR_DEADLINE',
      message: 'deadline of 500 ms exceeded calling orders.shop',
      attempts: [
        { endpoint: '10.0.0.1:80', class: 'ambiguous', code: 'ECONNRESET' },
        { endpoint: '10.0.0.2:80', class: 'ambiguous', code: 'STEERSMAN_ERR_DEADLINE' },
      ],
    });
    expect(script.last.aborted).toBe(true);
    expect(script.service.snapshot().endpoints[1]?.circuit).toBe('closed');
    await script.service.close();
  });

  it('gives each call its own error, though they share the connection that failed', async () => {
    const script = new Script(1, { retry: false });
    const shared = errno('ECONNREFUSED');
    const a = script.call();
    const b = script.call();
    await script.settle();
    for (const exchange of script.exchanges) exchange.fail(shared);
    expect(a.error).toMatchObject({ code: 'ECONNREFUSED', attempts: [{}] });
    expect(b.error).toMatchObject({ code: 'ECONNREFUSED', attempts: [{}] });
    expect(b.error).not.toBe(a.error);
    await script.service.close();
  });
});

describe('streamed bodies', () => {
  const read = async (exchange: Exchange): Promise<string> => {
    let text = '';
    for await (const chunk of exchange.options.body as AsyncIterable<Uint8Array | string>) {
      text += Buffer.from(chunk as Uint8Array).toString();
    }
    return text;
  };

  it('that nobody has read go elsewhere as they are', async () => {
    const script = new Script(3);
    const caller = script.call({ method: 'POST', body: Readable.from(['a', 'b']) });
    await script.settle();
    unsent(script.last);
    await script.settle();
    script.last.send();
    expect(await read(script.last)).toBe('ab');
    script.last.head(200).end();
    expect(caller.status).toBe(200);
    await script.service.close();
  });

  it('that were read to the end are kept up to the limit, and sent again', async () => {
    for (const [size, attempts] of [
      [100, 2],
      [101, 1],
    ] as const) {
      const script = new Script(3, { retry: { bodyLimit: 100 } });
      const caller = script.call({
        method: 'PUT',
        body: Readable.from([Buffer.alloc(50, 'a'), Buffer.alloc(size - 50, 'b')]),
      });
      await script.settle();
      script.last.send();
      await read(script.last);
      script.last.fail(errno('ECONNRESET'));
      await script.clock.advance(300);
      expect(script.exchanges).toHaveLength(attempts);
      if (attempts === 2) {
        script.last.send();
        expect(await read(script.last)).toBe('a'.repeat(50) + 'b'.repeat(50));
        script.last.head().end();
        expect(caller.status).toBe(200);
      } else {
        expect(caller.error?.code).toBe('ECONNRESET');
      }
      await script.service.close();
    }
  });

  it('that were read in part are not', async () => {
    const script = new Script(3);
    const caller = script.call({ method: 'PUT', body: Readable.from(['a', 'b']) });
    await script.settle();
    script.last.send();
    for await (const _ of script.last.options.body as AsyncIterable<Uint8Array>) break;
    script.last.fail(errno('ECONNRESET'));
    await script.clock.advance(300);
    expect(script.exchanges).toHaveLength(1);
    expect(caller.error?.code).toBe('ECONNRESET');
    await script.service.close();
  });

  it.each([
    ['before the answer', undefined],
    ['when the answer has begun', 200],
  ])('that throw %s fail the call with their own error, and nobody is blamed', async (_, status) => {
    const script = new Script(3);
    const mistake = new Error('the disk is gone');
    const body = (async function* () {
      yield 'a';
      throw mistake;
    })();
    const caller = script.call({ method: 'PUT', body: body as never });
    await script.settle();
    script.last.send();
    if (status !== undefined) script.last.head(status);
    await expect(read(script.last)).rejects.toBe(mistake);
    script.last.fail(mistake);
    await script.clock.advance(300);
    expect(caller.error).toBe(mistake);
    expect(script.exchanges).toHaveLength(1);
    expect(script.service.snapshot().endpoints[0]?.failures).toBe(0);
    await script.service.close();
  });
});

describe('full jitter', () => {
  it('is uniform below a ceiling that doubles up to its limit', () => {
    expect([1, 2, 3, 4, 5].map((n) => fullJitter(n, 25, 250, () => 1))).toEqual([25, 75, 175, 250, 250]);
    expect(fullJitter(3, 25, 250, () => 0)).toBe(0);
    expect(fullJitter(1_000, 25, 250, () => 0.5)).toBe(125);
  });
});
