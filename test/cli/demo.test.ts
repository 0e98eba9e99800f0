import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { type Act, acts } from '../../src/cli/demo/acts.ts';
import { spread, Tally } from '../../src/cli/demo/tally.ts';
import { command, demo } from '../../src/cli/demo.ts';

/** A stream that keeps what is written; a terminal when it has columns. */
function output(terminal: { columns: number; rows: number } | undefined): {
  out: NodeJS.WriteStream;
  written: () => string;
} {
  const stream = new PassThrough();
  const parts: Buffer[] = [];
  stream.on('data', (part) => parts.push(part));
  const out = Object.assign(stream, terminal === undefined ? {} : { isTTY: true, ...terminal });
  return { out: out as unknown as NodeJS.WriteStream, written: () => Buffer.concat(parts).toString() };
}

const shortened = (names: readonly string[], duration: number): Act[] =>
  acts.filter(({ name }) => names.includes(name)).map((act) => ({ ...act, duration }));

test('every act is played for both sides, without a failed call through the wrapped fetch', async () => {
  const { out, written } = output(undefined);
  const short = acts.map((act) => ({ ...act, duration: 500 }));
  expect(await demo({ rate: 100, json: true, acts: short }, out)).toBe(0);
  const figures = JSON.parse(written());
  expect(figures.acts.map(({ name }: Act) => name)).toEqual([
    'steady',
    'scale up',
    'one pod slow',
    'one pod failing',
    'rolling restart',
  ]);
  expect(figures.steersman).toMatchObject({
    failed: 0,
    retries: expect.any(Number),
    spread: expect.any(Number),
  });
  expect(figures.steersman.calls).toBeGreaterThan(200);
  expect(Math.abs(figures.steersman.calls - figures.plain.calls)).toBeLessThan(5);
  expect(figures.plain).not.toHaveProperty('retries');
  for (const { steersman } of figures.acts) expect(steersman.calls).toBeGreaterThan(0);
});

test('the exit code is 1 when a call through the wrapped fetch failed, and the summary says why', async () => {
  const { out, written } = output(undefined);
  const allFail: Act = {
    name: 'all pods failing',
    story: '',
    even: false,
    duration: 300,
    begin: async ({ pods }) => {
      for (const pod of pods) pod.failure = { status: 500 };
      return () => {};
    },
  };
  expect(await demo({ rate: 50, json: false, acts: [allFail] }, out)).toBe(1);
  expect(written()).toMatch(/steersman failed by: \d+ × status 500/);
});

test('without a terminal it prints lines, and no escape sequences', async () => {
  const { out, written } = output(undefined);
  expect(await demo({ rate: 50, json: false, acts: shortened(['steady'], 300) }, out)).toBe(0);
  expect(written()).toMatch(/^ +\d+ s {2}steady +steersman \d+ calls, 0 failed/);
  expect(written()).toMatch(/failed calls +0 +0\n/);
  expect(written()).not.toContain('\u001b');
});

test('in a terminal it draws a table of pods within the width, and gives the cursor back', async () => {
  const { out, written } = output({ columns: 80, rows: 24 });
  expect(await demo({ rate: 50, json: false, acts: shortened(['steady'], 700) }, out)).toBe(0);
  const screen = written();
  expect(screen).toMatch(/pod +doing +calls in flight +p50 +p99 +circuit +state/);
  expect(screen.match(/ready +\d+ +\d+ +\d+ ms +\d+ ms +closed +active/g)?.length).toBeGreaterThanOrEqual(3);
  const lines = screen.split('\n').map((line) => line.replaceAll(/\u001b\[\??[\d;]*[A-Za-z]|\r/g, ''));
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(80);
  expect(screen.lastIndexOf('\u001b[?25h')).toBeGreaterThan(screen.lastIndexOf('\u001b[?25l'));
});

test('an interrupt ends it at once, with the exit code of one', async () => {
  const { out, written } = output(undefined);
  const listeners = process.listeners('SIGINT');
  const running = demo({ rate: 50, json: false, acts: shortened(['steady'], 60_000) }, out);
  await expect.poll(written, { timeout: 10_000 }).toContain('steady');
  const added = process.listeners('SIGINT').filter((listener) => !listeners.includes(listener));
  expect(added).toHaveLength(1);
  added[0]?.('SIGINT');
  expect(await running).toBe(130);
  expect(process.listeners('SIGINT')).toEqual(listeners);
});

test.each([
  [['--rate', '0'], '--rate must be between 1 and 1000 calls per second, got 0'],
  [['--rate', 'fast'], '--rate must be between 1 and 1000 calls per second, got fast'],
  [['--fast'], "Unknown option '--fast'"],
  [['now'], 'Unexpected argument'],
])('the arguments %j are refused', async (args, message) => {
  await expect(command.run(args)).rejects.toThrow(message);
});

describe('figures', () => {
  test('a tally knows the quantiles of all calls and of the last seconds', () => {
    const tally = new Tally();
    for (let i = 1; i <= 100; i++) tally.add(i <= 50 ? 0 : 10_000, i, i === 7);
    expect([tally.calls, tally.failed]).toEqual([100, 1]);
    expect([tally.quantile(0.5), tally.quantile(0.99)]).toEqual([51, 100]);
    expect(tally.recentQuantile(10_500, 0)).toBe(51);
    expect(new Tally().quantile(0.5)).toBeUndefined();
  });

  test('a spread is the busiest share over the fair one', () => {
    expect(spread([10, 10, 10])).toBe(1);
    expect(spread([30, 0, 0])).toBe(3);
    expect(spread([0, 0])).toBeUndefined();
  });
});
