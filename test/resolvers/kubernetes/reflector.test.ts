import { afterEach, describe, expect, test } from 'vitest';
import type { Clock } from '../../../src/core/clock.ts';
import { type KubernetesOptions, kubernetes } from '../../../src/resolvers/kubernetes.ts';
import { FakeClock, seeded } from '../../../src/testing/index.ts';
import { Listening } from './listening.ts';
import {
  type Answer,
  type Asked,
  bookmark,
  listOf,
  reply,
  type Script,
  ScriptedApi,
  sliceOf,
  status,
  stream,
} from './scripted-api.ts';

let api: ScriptedApi;
let heard: Listening;
let clock: FakeClock;

afterEach(async () => {
  await heard.watch.close();
  expect(clock.pending).toBe(0);
  await api.close();
});

/** Watches orders at an API server whose answers about slices are scripted, and which keeps the Service to itself. */
async function watching(script: Script, options: KubernetesOptions = {}): Promise<void> {
  api = await ScriptedApi.start(async (asked) => {
    if (asked.resource === 'services') return reply(403, status(403, 'services is forbidden'));
    // That refusal is known before the first slice.
    if (asked.nth === 1) await turns(10);
    return script(asked);
  });
  clock = new FakeClock();
  heard = new Listening(
    kubernetes({ kubeconfig: api.kubeconfig, clock, random: seeded(1), ...options }),
    'http://orders:8080',
  );
}

/** Lets what is under way on loopback arrive. */
async function turns(count = 40): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Moves the clock step by step, with time for the network in between. */
async function pass(ms: number, step = 250): Promise<void> {
  for (let passed = 0; passed < ms; passed += step) {
    await clock.advance(Math.min(step, ms - passed));
    await turns();
  }
}

const sets = (): (string[] | undefined)[] => heard.sets.map((set) => set.map(({ address }) => address));

/** A streaming list of these addresses at a version, and what comes later. */
function streaming(
  version: number,
  addresses: readonly string[],
  more: readonly unknown[] = [],
  end?: 'open' | 'end' | 'cut' | 'reset',
): Answer {
  return stream(
    [
      { type: 'ADDED', object: sliceOf('orders', 's1', version, addresses) },
      bookmark(version, true),
      ...more,
    ],
    end,
  );
}

const modified = (version: number, addresses: readonly string[]): object => ({
  type: 'MODIFIED',
  object: sliceOf('orders', 's1', version, addresses),
});

const expired = { type: 'ERROR', object: status(410, 'too old resource version: 5 (9)', 'Expired') };

test('a watch is asked for bookmarks, for four to eight minutes, and from a version as it was told', async () => {
  const opaque = 'α/7 &9';
  await watching(({ nth }) =>
    nth === 1
      ? streaming(
          5,
          ['10.0.0.1'],
          [{ type: 'BOOKMARK', object: { metadata: { resourceVersion: opaque } } }],
          'end',
        )
      : undefined,
  );
  await heard.until(() => heard.sets.length === 1);
  await turns();
  const asked = api.asked.filter(({ resource }) => resource === 'endpointslices');
  expect(asked[1]?.query.get('resourceVersion')).toBe(opaque);
  const lasting = asked.map(({ query }) => Number(query.get('timeoutSeconds')));
  expect(new Set(lasting).size).toBe(2);
  for (const [i, { query, headers }] of asked.entries()) {
    expect(query.get('allowWatchBookmarks')).toBe('true');
    expect(query.has('limit')).toBe(false);
    expect(lasting[i]).toBeGreaterThanOrEqual(240);
    expect(lasting[i]).toBeLessThanOrEqual(480);
    expect(headers).toMatchObject({ accept: 'application/json' });
    expect(headers).not.toHaveProperty('accept-encoding');
  }
});

describe('what ends a watch', () => {
  test('a clean end is resumed at once from the last version, a bookmark’s included', async () => {
    await watching(({ nth }) =>
      nth === 1
        ? streaming(5, ['10.0.0.1'], [modified(6, ['10.0.0.2']), bookmark(9)], 'end')
        : stream([modified(10, ['10.0.0.3'])]),
    );
    await heard.until(() => heard.sets.length === 3);
    expect(sets()).toEqual([['10.0.0.1'], ['10.0.0.2'], ['10.0.0.3']]);
    expect(clock.now()).toBe(0);
    const query = api.asked.filter(({ resource }) => resource === 'endpointslices')[1]?.query;
    expect(query?.get('resourceVersion')).toBe('9');
    expect(query?.has('sendInitialEvents')).toBe(false);
    expect(heard.errors).toEqual([]);
  });

  test.each<[string, Answer]>([
    ['as an event in the stream', stream([expired], 'end')],
    ['as a status', reply(410, status(410, 'Expired', 'Expired'))],
  ])(
    'a version that is too old, told %s, is listed anew within 100 ms, without a word and without a gap',
    async (_how, answer) => {
      await watching(({ nth }) =>
        nth === 1
          ? streaming(5, ['10.0.0.1'], [bookmark(6)], 'end')
          : nth === 2
            ? answer
            : streaming(9, ['10.0.0.1', '10.0.0.2']),
      );
      await heard.until(() => heard.sets.length === 1);
      await turns();
      expect(api.times('endpointslices')).toBe(2);
      await pass(100, 10);
      expect(api.times('endpointslices')).toBe(3);
      await heard.until(() => heard.sets.length === 2);
      expect(sets()).toEqual([['10.0.0.1'], ['10.0.0.1', '10.0.0.2']]);
      expect(heard.errors).toEqual([]);
    },
  );

  test('where even a list that is not older is refused as too old, the latest is asked for', async () => {
    const versions: (string | null)[] = [];
    await watching(({ nth, query }) => {
      versions.push(query.get('resourceVersion'));
      if (nth === 1) return streaming(5, ['10.0.0.1'], [bookmark(6)], 'end');
      return nth <= 3 ? reply(410, status(410, 'Expired', 'Expired')) : streaming(9, ['10.0.0.2']);
    });
    await heard.until(() => heard.sets.length === 1);
    await pass(2_000, 20);
    await heard.until(() => heard.sets.length === 2);
    expect(versions).toEqual([null, '6', '6', null]);
  });

  test('a list after that which says the same is no new set', async () => {
    await watching(({ nth }) =>
      nth === 1 ? streaming(5, ['10.0.0.1'], [expired], 'end') : streaming(9, ['10.0.0.1'], [bookmark(10)]),
    );
    await heard.until(() => heard.sets.length === 1);
    await pass(200, 10);
    expect(api.times('endpointslices')).toBe(2);
    expect(heard.sets).toHaveLength(1);
  });

  test.each(['cut', 'reset'] as const)(
    'a connection that is %s is told, and followed by a list that is not older',
    async (how) => {
      await watching(({ nth }) =>
        nth === 1 ? streaming(5, ['10.0.0.1'], [modified(7, ['10.0.0.2'])], how) : streaming(9, ['10.0.0.2']),
      );
      await heard.until(() => heard.errors.length > 0);
      expect(heard.codes[0]).toBe('STEERSMAN_ERR_UNREACHABLE');
      await pass(100, 10);
      // The same set again: it is current once more.
      await heard.until(() => heard.sets.length === 3);
      expect(sets()).toEqual([['10.0.0.1'], ['10.0.0.2'], ['10.0.0.2']]);
      const query = api.asked.filter(({ resource }) => resource === 'endpointslices')[1]?.query;
      expect(query?.get('sendInitialEvents')).toBe('true');
      expect(query?.get('resourceVersion')).toBe('7');
      expect(query?.get('resourceVersionMatch')).toBe('NotOlderThan');
    },
  );

  test('a watch that told nothing is followed by a list: its version may be one the server has not reached', async () => {
    await watching(({ nth }) =>
      nth === 1 ? streaming(5, ['10.0.0.1'], [], 'end') : nth === 2 ? stream([]) : streaming(3, ['10.0.0.9']),
    );
    await heard.until(() => heard.sets.length === 1);
    await turns();
    expect(api.times('endpointslices')).toBe(2);
    await pass(500_000, 1_000);
    await heard.until(() => heard.last?.[0]?.address === '10.0.0.9');
  });

  const tooLarge = {
    ...status(504, 'Too large resource version: 5000, current: 30', 'Timeout'),
    details: { retryAfterSeconds: 1 },
  };

  test.each<[string, Answer]>([
    ['as an event in the stream', stream([{ type: 'ERROR', object: tooLarge }], 'end')],
    ['as a status', reply(504, tooLarge, { 'Retry-After': '1' })],
  ])(
    'a version beyond the server’s, as after a restored backup, told %s, is given up for the latest list once it may be asked for',
    async (_how, answer) => {
      await watching(({ nth, query }) =>
        nth === 1
          ? streaming(5_000, ['10.0.0.1'], [], 'cut')
          : query.get('resourceVersion') === '5000'
            ? answer
            : streaming(30, ['10.0.0.2']),
      );
      await heard.until(() => heard.sets.length === 1);
      await pass(900, 50);
      expect(api.times('endpointslices')).toBe(2);
      await pass(1_100, 50);
      await heard.until(() => heard.sets.length === 2);
      expect(sets()[1]).toEqual(['10.0.0.2']);
      expect(heard.infos[1]?.resourceVersion).toBe('30');
    },
  );

  test('a version that the server cannot even read is given up for the latest list', async () => {
    await watching(({ query }) => {
      if (query.has('sendInitialEvents')) return reply(422, status(422, ''));
      if (query.get('resourceVersion') === '5')
        return query.has('watch')
          ? reply(500, status(500, 'strconv.ParseUint: parsing "5": invalid syntax'))
          : reply(400, status(400, 'Invalid value: "5": invalid syntax', 'BadRequest'));
      if (query.has('watch')) return stream([]);
      return query.get('resourceVersion') === '0'
        ? listOf(5, [sliceOf('orders', 's1', 5, ['10.0.0.1'])])
        : listOf(30, [sliceOf('orders', 's1', 30, ['10.0.0.2'])]);
    });
    await heard.until(() => heard.sets.length === 1);
    await pass(5_000);
    await heard.until(() => heard.last?.[0]?.address === '10.0.0.2');
  });

  test('a rolling upgrade of the server costs no gap: an end, 503, a server that lags, a history that is gone', async () => {
    const answers = [
      streaming(50, ['10.0.0.1'], [modified(51, ['10.0.0.1', '10.0.0.2'])], 'end'),
      reply(503, 'no backend', { 'Content-Type': 'text/plain', 'Retry-After': '1' }),
      stream([{ type: 'ERROR', object: tooLarge }], 'end'),
      stream([expired], 'end'),
      streaming(60, ['10.0.0.2', '10.0.0.3']),
    ];
    await watching(({ nth }) => answers[nth - 1]);
    await heard.until(() => heard.sets.length === 2);
    await pass(8_000);
    await heard.until(() => heard.sets.length === 3);
    expect(sets()).toEqual([['10.0.0.1'], ['10.0.0.1', '10.0.0.2'], ['10.0.0.2', '10.0.0.3']]);
    expect(api.times('endpointslices')).toBe(5);
  });

  test('a watch that has lived makes the next trouble a first one again', async () => {
    let up = true;
    await watching(({ query }) =>
      up ? (query.has('sendInitialEvents') ? streaming(5, ['10.0.0.1']) : stream([])) : { after: 'reset' },
    );
    await heard.until(() => heard.sets.length === 1);
    up = false;
    api.drop();
    await pass(300_000, 2_000);
    up = true;
    await pass(131_000, 1_000);
    const before = api.times('endpointslices');
    api.drop();
    await pass(100, 10);
    expect(api.times('endpointslices')).toBe(before + 1);
  });
});

describe('servers without streaming lists', () => {
  test.each<[string, Answer | undefined]>([
    ['refuses the parameters', reply(422, status(422, 'sendInitialEvents is forbidden', 'Invalid'))],
    ['sends a plain watch', stream([{ type: 'ADDED', object: sliceOf('orders', 's9', 1, ['10.9.9.9']) }])],
    ['sends nothing', stream([])],
    ['ends without the mark', stream([], 'end')],
  ])('one that %s is asked for a list, and then watched from its version', async (_how, answer) => {
    await watching(({ query }) => {
      if (query.has('sendInitialEvents')) return answer;
      if (!query.has('watch')) return listOf(5, [sliceOf('orders', 's1', 4, ['10.0.0.1'])]);
      return query.get('resourceVersion') === '5' ? stream([modified(6, ['10.0.0.2'])]) : undefined;
    });
    await turns();
    await pass(2_000, 500);
    await heard.until(() => heard.sets.length === 2);
    expect(sets()).toEqual([['10.0.0.1'], ['10.0.0.2']]);
    // The first list may be any cached one.
    const lists = api.asked.filter(
      ({ resource, query }) => resource === 'endpointslices' && !query.has('watch'),
    );
    expect(lists.map(({ query }) => query.get('resourceVersion'))).toEqual(['0']);
  });
});

describe('a streaming list', () => {
  test('is complete with its mark, whatever comes before', async () => {
    await watching(() =>
      stream([
        { type: 'ADDED', object: sliceOf('orders', 's1', 3, ['10.0.0.1']) },
        { type: 'ADDED', object: sliceOf('orders', 's2', 4, ['10.0.0.2']) },
        { type: 'ADDED', object: { metadata: { resourceVersion: '4' } } },
        bookmark(5),
        { type: 'MODIFIED', object: sliceOf('orders', 's1', 6, ['10.0.0.3']) },
        { type: 'DELETED', object: sliceOf('orders', 's2', 7, ['10.0.0.2']) },
        bookmark(7, true),
      ]),
    );
    await heard.until(() => heard.sets.length === 1);
    expect(sets()).toEqual([['10.0.0.3']]);
    expect(heard.infos[0]?.resourceVersion).toBe('7');
  });

  test('that is cut before its mark is no set', async () => {
    await watching(({ nth }) =>
      nth === 1
        ? stream([{ type: 'ADDED', object: sliceOf('orders', 's1', 3, ['10.0.0.1']) }], 'cut')
        : streaming(5, ['10.0.0.2']),
    );
    await heard.until(() => heard.errors.length === 1);
    expect(heard.codes).toEqual(['STEERSMAN_ERR_UNREACHABLE']);
    await pass(100, 10);
    await heard.until(() => heard.sets.length === 1);
    expect(sets()).toEqual([['10.0.0.2']]);
  });
});

test.each<[string, number, string]>([
  ['of the answer', 11_000, 'HTTP/1.1'],
  ['of the end of its list', 1_500, '{"type":"BOOKMARK"'],
])(
  'a stall of this process is not taken for the lack %s, which waits to be read',
  async (_what, ms, from) => {
    let now = 0;
    const timers = new Map<() => void, number>();
    const late: Clock = {
      now: () => now,
      schedule(delay, callback) {
        const timer = (): void => callback();
        timers.set(timer, now + delay);
        return () => timers.delete(timer);
      },
    };
    const rest = Promise.withResolvers<Buffer>();
    const whole = streaming(5, ['10.0.0.1']).bytes as Buffer;
    const cut = whole.indexOf(from);
    await watching(() => ({ bytes: whole.subarray(0, cut), rest: rest.promise }), { clock: late });
    await turns();
    rest.resolve(whole.subarray(cut));
    for (let i = 0; i < 10; i++) await Promise.resolve();
    // It is in the kernel, and what is due runs before it is read.
    now += ms;
    for (const [timer, due] of [...timers]) if (due <= now && timers.delete(timer)) timer();
    await heard.until(() => heard.sets.length === 1);
    expect(api.times('endpointslices')).toBe(1);
    expect(heard.errors).toEqual([]);
  },
);

describe('a caller’s hint', () => {
  test('renews the watch, once in half a minute, so that what it kept back comes', async () => {
    await watching(({ nth, query }) => {
      if (nth === 1) return streaming(5, ['10.0.0.1'], [bookmark(6)]);
      expect(query.get('resourceVersion')).toBe('6');
      return stream(nth === 2 ? [] : [modified(7, ['10.0.0.2'])]);
    });
    await heard.until(() => heard.sets.length === 1);
    heard.watch.refresh();
    await pass(14_000, 1_000);
    expect(api.times('endpointslices')).toBe(1);
    // The second request is that after 15 s of silence.
    await pass(17_000, 1_000);
    expect(api.times('endpointslices')).toBe(2);
    heard.watch.refresh();
    heard.watch.refresh();
    await heard.until(() => heard.sets.length === 2);
    heard.watch.refresh();
    await turns();
    expect(api.times('endpointslices')).toBe(3);
    expect(sets()[1]).toEqual(['10.0.0.2']);
    expect(heard.errors).toEqual([]);
  });

  test('is nothing to a watch that is not there', async () => {
    await watching(() => reply(503, '', { 'Retry-After': '30' }));
    await heard.until(() => heard.errors.length === 1);
    await clock.advance(29_900);
    heard.watch.refresh();
    await turns();
    expect(api.times('endpointslices')).toBe(1);
  });
});

describe('a server that says nothing', () => {
  test('no answer to a watch is an error after 10 s', async () => {
    await watching(() => undefined);
    await pass(9_900, 300);
    expect(heard.errors).toEqual([]);
    await pass(200, 100);
    expect(heard.codes[0]).toBe('STEERSMAN_ERR_UNREACHABLE');
  });

  test('no list within a minute is an error; the next try ends with the watch', async () => {
    await watching(({ query }) => (query.has('sendInitialEvents') ? reply(422, status(422, '')) : undefined));
    await turns();
    await pass(59_000, 1_000);
    expect(heard.errors).toEqual([]);
    await pass(2_000);
    expect(heard.codes).toEqual(['STEERSMAN_ERR_UNREACHABLE']);
    expect(heard.errors[0]?.message).toBe('no list from the API server within 60 s');
    expect(api.times('endpointslices')).toBe(3);
  });

  test('an answer that a server holds back for 3 s, until it has caught up, is waited for', async () => {
    const held = Promise.withResolvers<void>();
    await watching(async () => {
      await held.promise;
      return streaming(5, ['10.0.0.1']);
    });
    await pass(3_000);
    held.resolve();
    await heard.until(() => heard.sets.length === 1);
    expect(api.times('endpointslices')).toBe(1);
    expect(heard.errors).toEqual([]);
  });

  test('over HTTP/1.1 a silent watch is renewed after 15 s, and what it kept back comes with the new one', async () => {
    await watching(({ nth, query }) => {
      if (nth === 1) return streaming(5, ['10.0.0.1']);
      expect(query.get('resourceVersion')).toBe('5');
      return stream([modified(6, ['10.0.0.2'])]);
    });
    await heard.until(() => heard.sets.length === 1);
    await pass(14_000, 1_000);
    expect(api.times('endpointslices')).toBe(1);
    await pass(2_000, 500);
    await heard.until(() => heard.sets.length === 2);
    expect(heard.errors).toEqual([]);
    expect(sets()[1]).toEqual(['10.0.0.2']);
  });

  test.each([401, 403, 429, 500])(
    'a silent watch whose successor is refused with %i may be dead: another is asked for, without a word',
    async (code) => {
      await watching(({ nth, query }) => {
        if (nth === 1) return streaming(5, ['10.0.0.1'], [bookmark(6)]);
        // A refusal with 401 is repeated once with fresh credentials.
        if (nth === 2 || (code === 401 && nth === 3)) return reply(code, status(code, 'not now'));
        expect(query.get('resourceVersion')).toBe('6');
        return stream([modified(7, ['10.0.0.2'])]);
      });
      await heard.until(() => heard.sets.length === 1);
      await pass(16_000, 500);
      await pass(code === 403 ? 60_000 : 1_000, 500);
      await heard.until(() => heard.sets.length === 2);
      expect(sets()[1]).toEqual(['10.0.0.2']);
      expect(heard.errors).toEqual([]);
    },
  );

  test('a silent watch whose version is too old for a successor is followed by a list', async () => {
    await watching(({ nth }) =>
      nth === 1
        ? streaming(5, ['10.0.0.1'])
        : nth === 2
          ? reply(410, status(410, 'Expired', 'Expired'))
          : streaming(9, ['10.0.0.2']),
    );
    await heard.until(() => heard.sets.length === 1);
    await pass(16_000, 500);
    await heard.until(() => heard.sets.length === 2);
    expect(heard.errors).toEqual([]);
  });

  test('an idle watch is renewed less and less often: at 15 s, then every 150 s at most', async () => {
    await watching(({ nth }) => (nth === 1 ? streaming(5, ['10.0.0.1'], [bookmark(6)]) : stream([])));
    await heard.until(() => heard.sets.length === 1);
    await pass(15 * 60_000, 5_000);
    expect(api.times('endpointslices')).toBeLessThan(15);
    expect(heard.errors).toEqual([]);
    expect(heard.sets).toHaveLength(1);
  });

  test('a frozen server is noticed within 30 s: neither the watch nor its successor gets an answer', async () => {
    await watching(({ nth }) => (nth === 1 ? streaming(5, ['10.0.0.1']) : undefined));
    await heard.until(() => heard.sets.length === 1);
    await pass(30_000, 1_000);
    expect(heard.codes[0]).toBe('STEERSMAN_ERR_UNREACHABLE');
    expect(heard.sets).toHaveLength(1);
  });
});

describe('an API server that is gone for hours', () => {
  test('is asked every half minute at most, its last set is kept, and told again when it is back', async () => {
    let up = true;
    await watching(() => (up ? streaming(5, ['10.0.0.1'], [bookmark(6)], 'cut') : { after: 'reset' }));
    await heard.until(() => heard.sets.length === 1);
    up = false;
    await pass(120_000, 500);
    const before = api.times('endpointslices');
    await pass(3 * 3_600_000, 10_000);
    expect(heard.sets.every((set) => set[0]?.address === '10.0.0.1')).toBe(true);
    const told = heard.sets.length;
    expect(api.times('endpointslices') - before).toBeLessThan((3 * 3_600) / 10);
    expect(heard.errors.length).toBeLessThan(10);
    up = true;
    await pass(31_000, 500);
    expect(heard.sets.length).toBeGreaterThan(told);
  });

  test('is asked by all who wait for it within a second or so of its first answer to any of them', async () => {
    const services = ['orders', 'payments', 'users', 'carts'];
    let up = true;
    const answered = new Map<string, number>();
    await watching(({ query }) => {
      if (!up) return { after: 'reset' };
      const service = query.get('labelSelector')?.split('=')[1] ?? '';
      if (!answered.has(service)) answered.set(service, clock.now());
      return stream([
        { type: 'ADDED', object: sliceOf(service, service, 5, ['10.0.0.1']) },
        bookmark(5, true),
      ]);
    });
    const resolver = kubernetes({ kubeconfig: api.kubeconfig, clock, random: seeded(2) });
    const others = services.slice(1).map((name) => new Listening(resolver, `http://${name}:8080`));
    await pass(1_000);
    await Promise.all([heard, ...others].map((one) => one.until(() => one.last !== undefined)));
    up = false;
    api.drop();
    await pass(600_000, 2_000);
    answered.clear();
    up = true;
    await pass(31_000, 50);
    const times = [...answered.values()];
    expect(times).toHaveLength(services.length);
    expect(Math.max(...times) - Math.min(...times)).toBeLessThanOrEqual(1_100);
    await Promise.all(others.map(({ watch }) => watch.close()));
  });
});

describe('what a server may ask for', () => {
  test.each([429, 503, 504])('after %i no request comes before Retry-After has passed', async (code) => {
    await watching(({ nth }) =>
      nth === 1
        ? reply(code, 'Too many requests, please try again later.', {
            'Content-Type': 'text/plain',
            'Retry-After': '7',
          })
        : streaming(5, ['10.0.0.1']),
    );
    await heard.until(() => heard.errors.length === 1);
    expect(heard.errors[0]?.message).toContain(`${code}: Too many requests`);
    await pass(6_900, 100);
    expect(api.times('endpointslices')).toBe(1);
    await pass(1_000, 100);
    await heard.until(() => heard.sets.length === 1);
  });

  test('that is at most half a minute', async () => {
    await watching(({ nth }) =>
      nth === 1 ? reply(503, '', { 'Retry-After': '3600' }) : streaming(5, ['10.0.0.1']),
    );
    await heard.until(() => heard.errors.length === 1);
    await pass(31_000, 500);
    await heard.until(() => heard.sets.length === 1);
  });

  test('403 is said once, with the rule that is missing, and asked again half a minute later', async () => {
    await watching(() =>
      reply(
        403,
        status(
          403,
          'endpointslices.discovery.k8s.io is forbidden: User "nobody" cannot list resource "endpointslices"',
          'Forbidden',
        ),
      ),
    );
    await heard.until(() => heard.errors.length === 1);
    expect(heard.codes[0]).toBe('STEERSMAN_ERR_FORBIDDEN');
    expect(heard.errors[0]?.message).toContain(
      'apiGroups [discovery.k8s.io], resources [endpointslices], verbs [list, watch]',
    );
    expect(heard.errors[0]?.message).toContain('steersman rbac orders.demo');
    await pass(29_000, 1_000);
    expect(api.times('endpointslices')).toBe(1);
    await pass(300_000, 5_000);
    expect(api.times('endpointslices')).toBeGreaterThan(4);
    expect(heard.errors).toHaveLength(1);
    // What is deprecated, and says less, is no way out.
    expect(api.times('endpoints')).toBe(0);
  });

  test('whoever comes later is told at once what is wrong, and asks nothing', async () => {
    await watching(() => reply(403, status(403, 'endpointslices.discovery.k8s.io is forbidden')));
    await heard.until(() => heard.errors.length === 1);
    const late = new Listening(
      kubernetes({ kubeconfig: api.kubeconfig, clock, random: seeded(1) }),
      'http://orders:8080',
    );
    await late.until(() => late.errors.length === 1);
    expect(late.codes).toEqual(['STEERSMAN_ERR_FORBIDDEN']);
    expect(api.times('endpointslices')).toBe(1);
    await late.watch.close();
  });

  test('403 for the older API names the rule for that', async () => {
    await watching(() => reply(403, status(403, 'endpoints is forbidden')), { source: 'endpoints' });
    await heard.until(() => heard.errors.length === 1);
    expect(heard.errors[0]?.message).toContain('apiGroups [""], resources [endpoints], verbs [list, watch]');
  });

  test('a refusal may come in the stream as well', async () => {
    await watching(({ nth }) =>
      nth === 1
        ? streaming(5, ['10.0.0.1'], [{ type: 'ERROR', object: status(403, 'not any more') }], 'end')
        : undefined,
    );
    await heard.until(() => heard.errors.length === 1);
    expect(heard.codes).toEqual(['STEERSMAN_ERR_FORBIDDEN']);
    expect(heard.errors[0]?.message).toContain('not any more');
    await pass(29_000, 1_000);
    expect(api.times('endpointslices')).toBe(1);
  });

  test('credentials that have expired are told once, and the last set is kept until new ones are there', async () => {
    let valid = true;
    await watching(({ nth }) =>
      nth === 1
        ? streaming(5, ['10.0.0.1'], [bookmark(6)], 'end')
        : valid
          ? streaming(9, ['10.0.0.2'])
          : reply(401, status(401, 'Unauthorized', 'Unauthorized')),
    );
    valid = false;
    await heard.until(() => heard.errors.length === 1);
    expect(heard.codes).toEqual(['STEERSMAN_ERR_UNAUTHORIZED']);
    await pass(600_000, 5_000);
    expect(sets()).toEqual([['10.0.0.1']]);
    expect(heard.errors).toHaveLength(1);
    valid = true;
    await pass(31_000, 500);
    await heard.until(() => heard.sets.length === 2);
  });

  test('a rule that is taken away while the watch runs is missed by the next one; the last set is kept until it is back', async () => {
    await watching(({ nth }) =>
      nth === 1
        ? streaming(5, ['10.0.0.1'], [modified(6, ['10.0.0.2'])], 'end')
        : nth <= 3
          ? reply(403, status(403, 'endpointslices.discovery.k8s.io is forbidden', 'Forbidden'))
          : streaming(9, ['10.0.0.3']),
    );
    await heard.until(() => heard.errors.length === 1);
    await pass(55_000, 5_000);
    expect(sets()).toEqual([['10.0.0.1'], ['10.0.0.2']]);
    await pass(70_000, 5_000);
    await heard.until(() => heard.sets.length === 3);
    expect(sets()[2]).toEqual(['10.0.0.3']);
    expect(heard.errors).toHaveLength(1);
  });
});

const modifiedAs = (fields: object): object => ({
  type: 'MODIFIED',
  object: { ...sliceOf('orders', 's1', 7, []), ...fields },
});

const page = '<html><body>Sign in</body></html>';

describe.each<[string, (asked: Asked) => Answer | undefined]>([
  ['401 for ever', () => reply(401, status(401, 'Unauthorized'))],
  ['403 for ever', () => reply(403, status(403, 'forbidden'))],
  ['500 for ever', () => reply(500, status(500, 'etcd has no leader'))],
  ['429 for ever', () => reply(429, 'slow down', { 'Content-Type': 'text/plain', 'Retry-After': '1' })],
  [
    '410 for ever',
    ({ nth }) => (nth === 1 ? streaming(5, ['10.0.0.1'], [expired], 'end') : stream([expired], 'end')),
  ],
  ['a list, then 410, for ever', () => streaming(5, ['10.0.0.1'], [expired], 'end')],
  ['clean ends at once', () => stream([], 'end')],
  ['a set and a clean end, for ever', () => streaming(5, ['10.0.0.1'], [], 'end')],
  [
    'an event and a clean end, for ever',
    ({ nth }) =>
      nth === 1 ? streaming(5, ['10.0.0.1'], [], 'end') : stream([modified(5 + nth, ['10.0.0.1'])], 'end'),
  ],
  ['an event and a reset, for ever', () => streaming(5, ['10.0.0.1'], [modified(6, ['10.0.0.2'])], 'reset')],
  [
    'a watch that says nothing, and successors that are refused',
    ({ nth }) => (nth === 1 ? streaming(5, ['10.0.0.1']) : reply(500, status(500, 'no'))),
  ],
  ['connections that are reset', () => ({ after: 'reset' as const })],
  ['text that is not JSON', () => stream(['{"type":"ADDED","object":{"meta\n'])],
  ['HTML', () => reply(200, page, { 'Content-Type': 'text/html' })],
  [
    'a list that is refused, a watch that is not',
    ({ query }) =>
      query.has('sendInitialEvents')
        ? reply(422, status(422, ''))
        : query.has('watch')
          ? stream([], 'end')
          : reply(500, ''),
  ],
  [
    'a list, and a watch that is refused',
    ({ query }) =>
      query.has('sendInitialEvents')
        ? reply(422, status(422, ''))
        : query.has('watch')
          ? reply(500, '')
          : listOf(5, []),
  ],
])('%s', (_mode, script) => {
  test('costs at most one request a second', async () => {
    await watching(script);
    await pass(60_000, 500);
    // The Service, which may not be read here, is asked for as well.
    expect(api.asked.length).toBeLessThanOrEqual(60);
    expect(api.times('endpointslices')).toBeGreaterThan(1);
    const before = api.asked.length;
    await pass(240_000, 1_000);
    expect(api.asked.length - before).toBeLessThanOrEqual(240);
  });
});

describe('what cannot be read', () => {
  test.each<[string, Answer, RegExp]>([
    ['malformed JSON', stream(['{"type":"ADDED","object":{"metadata":{"name":"s1",}}}\n']), /not JSON/],
    [
      'a line of 9 MB',
      stream([`{"type":"ADDED","object":"${'x'.repeat(9 << 20)}"}\n`]),
      /a line of more than 8388608 bytes/,
    ],
    [
      'HTML',
      reply(200, page, { 'Content-Type': 'text/html; charset=utf-8' }),
      /answers with text\/html where the Kubernetes API speaks JSON/,
    ],
    ['an event cut off', stream(['{"type":"ADDED","obj'], 'end'), /ended inside an event/],
    ['a redirect', reply(302, '', { Location: 'http://127.0.0.1:1/' }), /answered 302/],
    ['an error without a word', stream([{ type: 'ERROR', object: null }], 'end'), /no reason given \(500\)/],
    [
      'an object of another form',
      stream([modifiedAs({ endpoints: [{ addresses: ['10.0.0.1'], hints: { forZones: [null] } }] })]),
      /an object that is not of the form it should have/,
    ],
    [
      'an error of 2 MB',
      { ...reply(500, `cannot ${'x'.repeat(2 << 20)}`, { 'Content-Type': 'text/plain' }), after: 'keep' },
      /answered 500: cannot x{193}$/,
    ],
  ])('%s is told, and the last set kept', async (_what, answer, message) => {
    await watching(({ nth }) =>
      nth === 1
        ? streaming(5, ['10.0.0.1'], [bookmark(6)], 'end')
        : nth === 2
          ? answer
          : streaming(9, ['10.0.0.1']),
    );
    await heard.until(() => heard.errors.length === 1);
    expect(heard.errors[0]?.message).toMatch(message);
    expect(heard.sets).toHaveLength(1);
    await pass(200, 20);
    await heard.until(() => heard.sets.length === 2);
  });

  test.each<[string, Answer, RegExp]>([
    ['not JSON', reply(200, '{"metadata":{"resourceVersion":"5"},"items":[{]}'), /a list that is not JSON/],
    ['of another form', reply(200, { items: [null] }), /a list that is not of the form it should have/],
  ])('a list that is %s is told, and asked for again', async (_what, answer, message) => {
    await watching(({ query, nth }) => {
      if (query.has('sendInitialEvents')) return reply(422, status(422, ''));
      if (query.has('watch')) return stream([]);
      return nth === 2 ? answer : listOf(5, [sliceOf('orders', 's1', 4, ['10.0.0.1'])]);
    });
    await heard.until(() => heard.errors.length === 1);
    expect(heard.errors[0]?.message).toMatch(message);
    await pass(100, 10);
    await heard.until(() => heard.sets.length === 1);
  });

  test('endpoints without an address of their slice’s family, and whatever else is no endpoint, are passed over', async () => {
    await watching(() =>
      streaming(
        5,
        ['10.0.0.1'],
        [
          modifiedAs({
            endpoints: [
              null,
              {},
              { addresses: null },
              { addresses: [] },
              { addresses: ['fd00::1'] },
              { addresses: ['pod.example'] },
              { addresses: ['10.0.0.2', '10.0.0.3'] },
            ],
            ports: [null, { name: 'http', port: 8080 }],
          }),
        ],
      ),
    );
    await heard.until(() => heard.last?.[0]?.address === '10.0.0.2');
    expect(heard.last).toHaveLength(1);
    expect(heard.errors).toEqual([]);
  });

  test('unknown events, fields, and objects that are no slices are passed over', async () => {
    await watching(() =>
      streaming(
        5,
        ['10.0.0.1'],
        [
          { type: 'SOMETHING', object: { metadata: { name: 'x', resourceVersion: '6' } }, extra: [1] },
          { type: 'MODIFIED', object: null },
          { type: 'MODIFIED' },
          [],
          'null\n',
          '\n',
          { type: 'ADDED', object: { ...sliceOf('payments', 's7', 7, ['10.7.7.7']) } },
          { type: 'DELETED', object: sliceOf('orders', 'never-seen', 8, []) },
          // Added once more: what is known of it is replaced.
          { type: 'ADDED', object: sliceOf('orders', 's1', 9, ['10.0.0.2']) },
        ],
      ),
    );
    await heard.until(() => heard.sets.length === 2 || heard.last?.[0]?.address === '10.0.0.2');
    expect(heard.last?.map(({ address }) => address)).toEqual(['10.0.0.2']);
    expect(heard.errors).toEqual([]);
  });

  test('a slice that changes hands is dropped, also by a server that takes no notice of the selector', async () => {
    await watching(() =>
      streaming(
        5,
        ['10.0.0.1'],
        [
          { type: 'ADDED', object: sliceOf('orders', 's2', 6, ['10.0.0.2']) },
          { type: 'MODIFIED', object: sliceOf('payments', 's1', 7, ['10.0.0.1']) },
        ],
      ),
    );
    await heard.until(() => sets().at(-1)?.join() === '10.0.0.2');
    expect(heard.errors).toEqual([]);
  });
});
