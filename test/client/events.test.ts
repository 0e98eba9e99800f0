import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { Events } from '../../src/client/events.ts';

const error = { target: 'orders.shop', error: new Error('boom') };

describe('events', () => {
  it('reach every listener until it is taken back', () => {
    const events = new Events();
    const heard: string[] = [];
    const stop = events.on('error', () => heard.push('a'));
    events.on('error', () => heard.push('b'));
    events.emit('error', error);
    stop();
    stop();
    events.emit('error', error);
    expect(heard).toEqual(['a', 'b', 'b']);
  });

  it('reach some listeners once, and those that were taken back not at all', () => {
    const events = new Events();
    const heard: string[] = [];
    const listener = (): unknown => heard.push('on');
    events.once('error', () => heard.push('once'));
    const stop = events.once('error', () => heard.push('never'));
    events.on('error', listener);
    stop();
    events.emit('error', error);
    events.emit('error', error);
    events.off('error', listener);
    events.off('stale', listener);
    events.emit('error', error);
    expect(heard).toEqual(['once', 'on', 'on']);
  });

  it('reach listeners that come and go meanwhile in a sane way', () => {
    const events = new Events();
    const heard: string[] = [];
    const stop = events.on('error', () => {
      heard.push('once');
      stop();
      events.on('error', () => heard.push('late'));
    });
    events.emit('error', error);
    expect(heard).toEqual(['once']);
  });

  it('also go to diagnostics channels', () => {
    const events = new Events();
    const heard: unknown[] = [];
    const listener = (message: unknown): number => heard.push(message);
    subscribe('steersman:error', listener);
    events.emit('error', error);
    unsubscribe('steersman:error', listener);
    expect(heard).toEqual([error]);
  });

  it('need no listener, not even errors', () => {
    new Events().emit('error', error);
  });

  it('tell of a listener that throws as an error, and of one for errors as a warning', async () => {
    const events = new Events();
    const heard: Error[] = [];
    events.on('stale', () => {
      throw new Error('mine');
    });
    events.on('error', (event) => heard.push(event.error));
    events.emit('stale', { target: 'orders.shop', age: 1, error: error.error });
    expect(heard).toMatchObject([{ message: 'a listener of stale threw', cause: { message: 'mine' } }]);
    events.on('error', () => {
      throw new Error('worse');
    });
    const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
    events.emit('error', error);
    expect((await warned).message).toBe('a listener of error threw');
  });

  it('tell of an async listener that fails just as well', async () => {
    const events = new Events();
    const heard: Error[] = [];
    events.on('stale', async () => {
      throw new Error('mine');
    });
    events.on('error', (event) => heard.push(event.error));
    events.emit('stale', { target: 'orders.shop', age: 1, error: error.error });
    await null;
    expect(heard).toMatchObject([{ message: 'a listener of stale threw', cause: { message: 'mine' } }]);
    events.on('stale', runInNewContext('(async () => { throw new Error("foreign") })'));
    events.emit('stale', { target: 'orders.shop', age: 1, error: error.error });
    await null;
    expect(heard[2]).toMatchObject({ cause: { message: 'foreign' } });
    events.on('error', async () => {
      throw new Error('worse');
    });
    const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
    events.emit('error', error);
    expect((await warned).message).toBe('a listener of error threw');
  });

  it('with a name that is none are refused', () => {
    expect(() => new Events().on('nope' as never, () => {})).toThrow(
      /no event "nope": known are endpoints, ejected/,
    );
    expect(() => new Events().on('error', 7 as never)).toThrow(TypeError);
  });
});
