import type { Dispatcher } from 'undici';
import { expect, it, vi } from 'vitest';
import { LegacyHandler } from '../../src/undici/legacy-handler.ts';

/** A modern handler that notes what it hears, and the legacy form of it. */
function handlers(): {
  heard: unknown[][];
  controller(): Dispatcher.DispatchController;
  legacy: LegacyHandler;
} {
  const heard: unknown[][] = [];
  let controller: Dispatcher.DispatchController | undefined;
  const legacy = new LegacyHandler({
    onRequestStart: (given, context) => {
      controller = given;
      heard.push(['start', context]);
    },
    onResponseStart: (_, ...rest) => void heard.push(['headers', ...rest]),
    onResponseData: (_, chunk) => void heard.push(['data', String(chunk)]),
    onResponseEnd: (_, trailers) => void heard.push(['end', trailers]),
    onResponseError: (_, error) => void heard.push(['error', error]),
  });
  return { heard, legacy, controller: () => controller as Dispatcher.DispatchController };
}

const raw = (...texts: string[]): Buffer[] => texts.map((text) => Buffer.from(text));

it('tells of an answer in today’s form', () => {
  const { heard, legacy, controller } = handlers();
  const context = {};
  legacy.onConnect(() => {}, context);
  legacy.onHeaders(103, raw('Link', '</a>'), () => {}, 'Early Hints');
  const headers = raw('A', '1', 'set-cookie', 'b', 'Set-Cookie', 'c');
  expect(legacy.onHeaders(200, headers, () => {}, 'OK')).toBe(true);
  expect(controller().rawHeaders).toBe(headers);
  expect(legacy.onData(Buffer.from('body'))).toBe(true);
  legacy.onComplete(raw('Sum', '7'));
  expect(heard).toEqual([
    ['start', context],
    ['headers', 103, { link: '</a>' }, 'Early Hints'],
    ['headers', 200, { a: '1', 'set-cookie': ['b', 'c'] }, 'OK'],
    ['data', 'body'],
    ['end', { sum: '7' }],
  ]);
});

it('holds the sender back while it is paused', () => {
  const { legacy, controller } = handlers();
  const resume = vi.fn();
  legacy.onConnect(() => {}, undefined);
  controller().pause();
  expect(legacy.onHeaders(200, [], resume)).toBe(false);
  expect(legacy.onData(Buffer.from('x'))).toBe(false);
  controller().resume();
  controller().resume();
  expect(resume).toHaveBeenCalledTimes(1);
  expect(controller().paused).toBe(false);
  expect(legacy.onData(Buffer.from('y'))).toBe(true);
});

it('aborts once', () => {
  const { legacy, controller } = handlers();
  const abort = vi.fn();
  legacy.onConnect(abort, undefined);
  const reason = new Error('enough');
  controller().abort(reason);
  controller().abort(new Error('again'));
  expect(abort.mock.calls).toEqual([[reason]]);
  expect(controller().aborted).toBe(true);
  expect(controller().reason).toBe(reason);
});

it('tells of an error before there was a connection', () => {
  const { heard, legacy } = handlers();
  const error = new Error('refused');
  legacy.onError(error);
  expect(heard).toEqual([['error', error]]);
});
