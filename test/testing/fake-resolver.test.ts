import { describe, expect, it } from 'vitest';
import type { Resolver } from '../../src/core/resolver.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { resolverSuite } from '../../src/testing/resolver-suite.ts';
import { watching } from '../resolvers/support/watching.ts';

describe('FakeResolver', () => {
  it('tells a new watch its set once watch has returned, and changes before set returns', async () => {
    const fake = new FakeResolver(['10.0.0.1:80']);
    const { sets, watch } = watching(fake);
    expect(sets).toEqual([]);
    await Promise.resolve();
    expect(sets).toEqual([['10.0.0.1:80']]);
    fake.set([{ id: 'x', address: '10.0.0.2', port: 1 }]);
    expect(sets).toEqual([['10.0.0.1:80'], ['x']]);
    await watch.close();
  });

  it('tells nothing before the first set', async () => {
    const fake = new FakeResolver();
    const { sets, errors, watch } = watching(fake);
    await Promise.resolve();
    expect([...sets, ...errors]).toEqual([]);
    fake.fail('down');
    expect(errors.map(({ message }) => message)).toEqual(['down']);
    await watch.close();
  });

  it('tells a watch that comes later the set and the error since', async () => {
    const fake = new FakeResolver(['10.0.0.1:80']);
    fake.fail();
    const { sets, errors, watch } = watching(fake);
    await Promise.resolve();
    expect([sets.length, errors.length]).toEqual([1, 1]);
    await watch.close();
  });

  it('counts open watches and refreshes, and remembers targets', async () => {
    const fake = new FakeResolver();
    const [one, two] = [watching(fake), watching(fake, { host: 'users' })];
    expect(fake.watches).toBe(2);
    one.watch.refresh();
    two.watch.refresh();
    await one.watch.close();
    await one.watch.close();
    one.watch.refresh();
    expect([fake.watches, fake.refreshes]).toEqual([1, 2]);
    expect(fake.targets.map(({ host }) => host)).toEqual(['orders.shop', 'users']);
    await two.watch.close();
    expect(fake.watches).toBe(0);
  });
});

/** Runs the suite and returns the names of the tests that fail. */
async function failures(make: Parameters<typeof resolverSuite>[0]): Promise<string[]> {
  const tests: { name: string; body: () => void | Promise<void> }[] = [];
  resolverSuite(make, { describe: (_, body) => body(), it: (name, body) => tests.push({ name, body }) });
  const failed: string[] = [];
  for (const { name, body } of tests) {
    try {
      await body();
    } catch {
      failed.push(name);
    }
  }
  return failed;
}

describe('resolverSuite', () => {
  const good = { id: 'a', address: '10.0.0.1', port: 80 };
  const reporting = (...set: object[]): Resolver => ({
    watch(_, listener) {
      let open = true;
      queueMicrotask(() => open && listener.onEndpoints(set as never));
      return {
        refresh() {},
        async close() {
          open = false;
        },
      };
    },
  });

  it('passes a good resolver', async () => {
    expect(await failures(() => reporting(good))).toEqual([]);
  });

  it.each([
    ['a host name for an address', { ...good, address: 'orders.shop' }],
    ['port 0', { ...good, port: 0 }],
    ['no id', { ...good, id: '' }],
    ['a weight that is no number', { ...good, weight: Number.NaN }],
  ])('fails one that reports %s', async (_, endpoint) => {
    expect(await failures(() => reporting(endpoint))).toContain(
      'reports by itself, once watch has returned, endpoints that can be dialled',
    );
  });

  it('fails one that reports an id twice', async () => {
    expect(await failures(() => reporting(good, good))).not.toEqual([]);
  });

  it('fails one that reports before watch returns', async () => {
    const early: Resolver = {
      watch(_, listener) {
        listener.onEndpoints([good]);
        return { refresh() {}, async close() {} };
      },
    };
    expect(await failures(() => early)).not.toEqual([]);
  });

  it('fails one that reports after close', async () => {
    const late: Resolver = {
      watch(_, listener) {
        queueMicrotask(() => listener.onEndpoints([good]));
        return { refresh() {}, async close() {} };
      },
    };
    expect(await failures(() => late)).toEqual([
      'tells each watch on its own, and closing one leaves the others',
      'closes at once, again, and twice at the same time, and says nothing any more',
    ]);
  });

  it('fails one that empties the set on an error', async () => {
    const failing = (): Parameters<typeof failures>[0] => {
      return () => {
        const fake = new FakeResolver();
        return {
          resolver: fake,
          set: (addresses) => fake.set(addresses),
          fail() {
            fake.set([]);
            fake.fail();
          },
        };
      };
    };
    expect(await failures(failing())).toContain(
      'keeps the set through errors, and says when it is current again',
    );
  });

  it('asks for a runner where there is none', () => {
    expect(() => resolverSuite(() => new FakeResolver())).toThrow(/no global describe and it/);
  });
});
