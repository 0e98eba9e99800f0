import type { ServiceSnapshot } from '../../client/service.ts';
import { type Clock, wait } from '../../core/clock.ts';
import type { FakeService } from '../../testing/fake-cluster/fake-service.ts';
import type { FakePod } from '../../testing/fake-cluster/pod.ts';
import type { Act } from './acts.ts';
import type { Caller } from './caller.ts';
import { spread, Tally } from './tally.ts';

/** ms between two batches of calls. */
const beat = 10;

/** One of the two ways to call: its service, the app that calls it. */
export interface Side {
  readonly service: FakeService;
  readonly caller: Caller;
  /** What the balancing client knows; undefined for plain fetch. */
  readonly snapshot?: () => ServiceSnapshot | undefined;
}

/** Figures of one side, in one act or over all. */
export interface Figures {
  readonly calls: number;
  readonly failed: number;
  /** undefined for plain fetch, which has none. */
  readonly retries?: number;
  /** ms */
  readonly p50: number | undefined;
  readonly p95: number | undefined;
  readonly p99: number | undefined;
  /** The busiest pod's share of the calls over a fair share, while all pods were well. */
  readonly spread?: number;
}

export interface ActFigures {
  readonly name: string;
  readonly steersman: Figures;
  readonly plain: Figures;
}

/** What one side did in one act. */
interface Played {
  readonly tally: Tally;
  readonly retries?: number;
  readonly spread?: number;
}

/** Plays the acts for both sides at once, under the same load. */
export class Show {
  readonly steersman: Side;
  readonly plain: Side;
  /** The one being played. */
  act: Act;
  readonly #clock: Clock;
  /** Calls per second of each side. */
  readonly rate: number;
  readonly #acts: readonly Act[];
  readonly #played: { readonly name: string; readonly steersman: Played; readonly plain: Played }[] = [];
  /** Of both sides, as the last act began. */
  #counts: readonly Counts[] = [];
  #began = 0;
  #actBegan = 0;

  constructor(
    steersman: Side,
    plain: Side,
    options: { readonly clock: Clock; readonly rate: number; readonly acts: readonly Act[] },
  ) {
    this.steersman = steersman;
    this.plain = plain;
    this.#clock = options.clock;
    this.rate = options.rate;
    this.#acts = options.acts;
    this.act = options.acts[0] as Act;
  }

  /** ms on the clock the calls are timed by. */
  get now(): number {
    return this.#clock.now();
  }

  /** ms since the beginning. */
  get elapsed(): number {
    return this.#clock.now() - this.#began;
  }

  /** How much is over, from 0 to 1. */
  get progress(): number {
    const total = this.#acts.reduce((sum, { duration }) => sum + duration, 0);
    const before = this.#acts
      .slice(0, this.#acts.indexOf(this.act))
      .reduce((sum, { duration }) => sum + duration, 0);
    const inAct = Math.min(this.#clock.now() - this.#actBegan, this.act.duration);
    return (before + inAct) / total;
  }

  /** One call of each side that does not count: code is loaded, the watch begins. */
  async warmUp(): Promise<void> {
    await Promise.all([this.steersman, this.plain].map(({ caller }) => caller.warmUp()));
  }

  /** Resolves when every act is over and every call has come to its end; rejects when it is interrupted. */
  async play(interrupt: AbortSignal): Promise<void> {
    this.#began = this.#clock.now();
    const stop = this.#call();
    try {
      for (const act of this.#acts) {
        this.act = act;
        this.#actBegan = this.#clock.now();
        await unless(interrupt, this.#playAct(act));
      }
    } finally {
      stop();
    }
    const { steersman, plain } = this;
    await unless(interrupt, Promise.all([steersman.caller.settled(), plain.caller.settled()]));
  }

  /** Act by act, once it has been played. */
  get acts(): readonly ActFigures[] {
    return this.#played.map(({ name, steersman, plain }) => ({
      name,
      steersman: figuresOf([steersman], steersman.tally),
      plain: figuresOf([plain], plain.tally),
    }));
  }

  /** Over all acts. */
  get whole(): Omit<ActFigures, 'name'> {
    return {
      steersman: figuresOf(
        this.#played.map(({ steersman }) => steersman),
        this.steersman.caller.all,
      ),
      plain: figuresOf(
        this.#played.map(({ plain }) => plain),
        this.plain.caller.all,
      ),
    };
  }

  async #playAct(act: Act): Promise<void> {
    const sides = [this.steersman, this.plain];
    const begins = sides.map((side) => countsOf(side));
    const busiest = sides.map(({ service }, i) => busiestOf(service.pods, this.#counts[i]?.pods));
    this.#counts = begins;
    for (const { caller } of sides) caller.act = new Tally();
    const tallies = sides.map(({ caller }) => caller.act);
    const [ends] = await Promise.all([
      Promise.all(sides.map(({ service }, i) => act.begin(service, busiest[i] as FakePod))),
      wait(this.#clock, act.duration),
    ]);
    for (const end of ends) end();
    const [steersman, plain] = sides.map((side, i): Played => {
      const before = begins[i] as Counts;
      const { retries } = countsOf(side);
      const uneven = act.even ? spreadSince(side, before) : undefined;
      return {
        tally: tallies[i] as Tally,
        ...(retries === undefined ? {} : { retries: retries - (before.retries ?? 0) }),
        ...(uneven === undefined ? {} : { spread: uneven }),
      };
    }) as [Played, Played];
    this.#played.push({ name: act.name, steersman, plain });
  }

  /** Open loop: calls go out when they are due, whether or not earlier ones have come back. */
  #call(): () => void {
    let made = 0;
    let cancel = (): void => {};
    const tick = (): void => {
      const due = Math.floor((this.elapsed / 1_000) * this.rate);
      for (; made < due; made++) {
        this.steersman.caller.call();
        this.plain.caller.call();
      }
      cancel = this.#clock.schedule(beat, tick);
    };
    tick();
    return () => cancel();
  }
}

/** What a promise comes to, or a rejection as soon as the signal aborts. */
function unless<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  return Promise.race([promise, aborted.promise]).finally(() => signal.removeEventListener('abort', abort));
}

interface Counts {
  readonly retries: number | undefined;
  readonly pods: ReadonlyMap<FakePod, number>;
}

function countsOf({ service, snapshot }: Side): Counts {
  return { retries: snapshot?.()?.retries, pods: new Map(service.pods.map((pod) => [pod, pod.served])) };
}

/** The running pod with most calls since `before`. */
function busiestOf(pods: readonly FakePod[], before: Counts['pods'] = new Map()): FakePod | undefined {
  const calls = (pod: FakePod): number => pod.served - (before.get(pod) ?? 0);
  return pods.filter(({ phase }) => phase === 'running').toSorted((a, b) => calls(b) - calls(a))[0];
}

function spreadSince({ service }: Side, before: Counts): number | undefined {
  const live = service.pods.filter(({ phase }) => phase === 'running');
  return spread(live.map((pod) => pod.served - (before.pods.get(pod) ?? 0)));
}

/** The worst spread and the sum of the retries of these acts, with a tally of their calls. */
function figuresOf(played: readonly Played[], tally: Tally): Figures {
  const retries = played.map((one) => one.retries).filter((count) => count !== undefined);
  const spreads = played.map((one) => one.spread).filter((share) => share !== undefined);
  return {
    calls: tally.calls,
    failed: tally.failed,
    ...(retries.length === 0 ? {} : { retries: retries.reduce((a, b) => a + b, 0) }),
    p50: tally.quantile(0.5),
    p95: tally.quantile(0.95),
    p99: tally.quantile(0.99),
    ...(spreads.length === 0 ? {} : { spread: Math.max(...spreads) }),
  };
}
