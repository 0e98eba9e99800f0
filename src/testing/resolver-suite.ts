import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import type { Endpoint } from '../core/endpoint.ts';
import { DiscoveryWarning } from '../core/errors.ts';
import { func } from '../core/options.ts';
import type { Resolver, Watch } from '../core/resolver.ts';
import type { Target } from '../core/target.ts';
import { type SuiteRunner, suiteRunner } from './runner.ts';

/** A resolver under test, and what moves it. Where `set` is absent, only what holds for any source is checked. */
export interface ResolverSubject {
  readonly resolver: Resolver;
  /** What to watch. @default http://orders.shop:8080 */
  readonly target?: Target;
  /** Makes the source know exactly these IP addresses from now on. */
  set?(addresses: readonly string[]): void | Promise<void>;
  /** Makes the source fail from now on, until the next `set`. */
  fail?(): void | Promise<void>;
  /** Lets the resolver ask its source again, e.g. by moving a fake clock; called until what is expected has come. */
  next?(): void | Promise<void>;
  /** Frees what belongs to the source, after each test. */
  close?(): void | Promise<void>;
}

/** ms of real time a report may take to come. */
const patience = 10_000;

/**
 * Checks the contract of `Resolver` with the test runner at hand: `resolverSuite(() => yourResolver())` in a test
 * file, or with a subject whose source the suite can change, which checks a good deal more.
 */
export function resolverSuite(
  make: () => Resolver | ResolverSubject | Promise<Resolver | ResolverSubject>,
  runner: SuiteRunner = suiteRunner(),
): void {
  func(make, 'make of resolverSuite');
  const { describe, it } = runner;

  /** A fresh subject for one test, which must leave all its watches closed. */
  const using = (body: (subject: ResolverSubject, watch: () => Recorder) => Promise<void>) => async () => {
    const made = await make();
    const subject: ResolverSubject = 'resolver' in made ? made : { resolver: made };
    const recorders: Recorder[] = [];
    try {
      await body(subject, () => {
        const recorder = new Recorder(subject);
        recorders.push(recorder);
        return recorder;
      });
    } finally {
      await Promise.all(recorders.map((recorder) => recorder.close()));
      await subject.close?.();
    }
  };

  describe('the resolver contract', () => {
    it(
      'reports by itself, once watch has returned, endpoints that can be dialled',
      using(async (subject, watch) => {
        await subject.set?.(['10.0.0.1', '10.0.0.2']);
        const recorder = watch();
        await recorder.until(() => recorder.reports > 0, 'a set or an error');
      }),
    );

    it(
      'tells each watch on its own, and closing one leaves the others',
      using(async (subject, watch) => {
        await subject.set?.(['10.0.0.1']);
        const [first, second, third] = [watch(), watch(), watch()];
        await first.close();
        await second.until(() => second.reports > 0, 'a set or an error');
        await second.close();
        await third.until(() => third.reports > 0, 'a set or an error for another watch');
      }),
    );

    it(
      'takes refresh for a hint, as often as it comes, also after close',
      using(async (subject, watch) => {
        await subject.set?.(['10.0.0.1']);
        const recorder = watch();
        for (let i = 0; i < 1_000; i++) recorder.refresh();
        await recorder.until(() => recorder.reports > 0, 'a set or an error');
        for (let i = 0; i < 1_000; i++) recorder.refresh();
        await recorder.close();
        recorder.refresh();
      }),
    );

    it(
      'closes at once, again, and twice at the same time, and says nothing any more',
      using(async (subject, watch) => {
        await subject.set?.(['10.0.0.1']);
        await watch().close();
        const recorder = watch();
        await recorder.until(() => recorder.reports > 0, 'a set or an error');
        await Promise.all([recorder.close(), recorder.close()]);
        await recorder.close();
        await subject.set?.(['10.0.0.2']);
        for (let i = 0; i < 5; i++) await turn();
      }),
    );

    it(
      'reports the complete set when it changes, and the same id for an endpoint that stays',
      using(async (subject, watch) => {
        if (subject.set === undefined) return;
        await subject.set(['10.0.0.1', '10.0.0.2']);
        const recorder = watch();
        await recorder.comesTo(['10.0.0.1', '10.0.0.2']);
        const before = recorder.last.find(({ address }) => address === '10.0.0.2');
        await subject.set(['10.0.0.2', '10.0.0.3']);
        await recorder.comesTo(['10.0.0.2', '10.0.0.3']);
        const after = recorder.last.find(({ address }) => address === '10.0.0.2');
        assert.equal(after?.id, before?.id, 'an endpoint that stays must keep its id');
      }),
    );

    it(
      'reports an empty set when there are no endpoints any more, and goes on',
      using(async (subject, watch) => {
        if (subject.set === undefined) return;
        await subject.set(['10.0.0.1']);
        const recorder = watch();
        await recorder.comesTo(['10.0.0.1']);
        await subject.set([]);
        await recorder.comesTo([]);
        await subject.set(['10.0.0.9']);
        await recorder.comesTo(['10.0.0.9']);
      }),
    );

    it(
      'keeps the set through errors, and says when it is current again',
      using(async (subject, watch) => {
        if (subject.set === undefined || subject.fail === undefined) return;
        await subject.set(['10.0.0.1', '10.0.0.2']);
        const recorder = watch();
        await recorder.comesTo(['10.0.0.1', '10.0.0.2']);
        const { sets } = recorder;
        await subject.fail();
        await recorder.until(() => recorder.errors > 0, 'an error');
        assert.equal(recorder.sets, sets, 'an error must not change the set');
        await subject.set(['10.0.0.1', '10.0.0.2']);
        await recorder.until(() => recorder.sets > sets, 'the same set, now current again');
        await recorder.comesTo(['10.0.0.1', '10.0.0.2']);
      }),
    );

    it(
      'recovers from errors that came before the first set',
      using(async (subject, watch) => {
        if (subject.set === undefined || subject.fail === undefined) return;
        await subject.fail();
        const recorder = watch();
        await recorder.until(() => recorder.errors > 0, 'an error');
        assert.equal(recorder.sets, 0, 'an error must not report a set');
        await subject.set(['10.0.0.1']);
        await recorder.comesTo(['10.0.0.1']);
      }),
    );
  });
}

/** One watch, what it has reported, and the checks that hold for every report. */
class Recorder implements Watch {
  readonly #subject: ResolverSubject;
  readonly #watch: Watch;
  #violation: Error | undefined;
  #closed = false;
  /** The latest set. */
  last: readonly Endpoint[] = [];
  sets = 0;
  errors = 0;

  constructor(subject: ResolverSubject) {
    this.#subject = subject;
    const { resolver, target = { protocol: 'http:', host: 'orders.shop', port: 8080 } } = subject;
    let returned = false;
    const report = (check: () => void): void => {
      try {
        assert(returned, 'nothing may be reported before watch returns');
        assert(!this.#closed, 'nothing may be reported after close was called');
        check();
      } catch (error) {
        this.#violation ??= error as Error;
      }
    };
    this.#watch = resolver.watch(target, {
      onEndpoints: (endpoints) =>
        report(() => {
          checkSet(endpoints);
          this.last = endpoints;
          this.sets++;
        }),
      onError: (error) =>
        report(() => {
          assert(error instanceof Error, `onError must be given an Error, got ${String(error)}`);
          if (!(error instanceof DiscoveryWarning)) this.errors++;
        }),
    });
    returned = true;
    assert.equal(typeof this.#watch?.refresh, 'function', 'watch must return an object with refresh()');
    assert.equal(typeof this.#watch.close, 'function', 'watch must return an object with close()');
  }

  get reports(): number {
    return this.sets + this.errors;
  }

  refresh(): void {
    this.#watch.refresh();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#watch.close();
    this.check();
  }

  /** Throws what any report has done wrong. */
  check(): void {
    if (this.#violation !== undefined) throw this.#violation;
  }

  async until(holds: () => boolean, what: string): Promise<void> {
    const end = performance.now() + patience;
    for (;;) {
      this.check();
      if (holds()) return;
      if (performance.now() > end)
        assert.fail(`${what} was not reported within ${patience} ms; last set: ${addresses(this.last)}`);
      await turn();
      if (!holds()) await this.#subject.next?.();
    }
  }

  async comesTo(expected: readonly string[]): Promise<void> {
    const wanted = [...expected].sort().join(', ');
    await this.until(() => this.sets > 0 && addresses(this.last) === wanted, `the set [${wanted}]`);
  }
}

function addresses(endpoints: readonly Endpoint[]): string {
  return endpoints
    .map(({ address }) => address)
    .sort()
    .join(', ');
}

function checkSet(endpoints: readonly Endpoint[]): void {
  assert(Array.isArray(endpoints), 'a set must be an array');
  const ids = new Set<string>();
  for (const { id, address, port, weight } of endpoints) {
    assert(typeof id === 'string' && id !== '', 'an endpoint must have an id');
    assert(!ids.has(id), `an id must be there once only: ${id}`);
    ids.add(id);
    assert(isIP(address) !== 0, `an endpoint's address must be an IP address, got ${String(address)}`);
    assert(
      Number.isInteger(port) && port > 0 && port < 65_536,
      `an endpoint's port must be 1 to 65535, got ${port}`,
    );
    assert(
      weight === undefined || (weight >= 0 && Number.isFinite(weight)),
      `a weight must be 0 or more, got ${weight}`,
    );
  }
}

/** One turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
