import type { Endpoint } from '../../core/endpoint.ts';
import {
  arrayOf,
  boolean,
  type Check,
  func,
  integer,
  number,
  oneOf,
  type Shape,
  shape,
  string,
} from '../../core/options.ts';
import { checkDistribution, type Distribution } from './distribution.ts';

/**
 * Something that happens to the pods, or to a client, during a run. `at` and all durations are in ms of simulated time.
 * Where the same happens twice at a time, it lasts until the later end; speeds multiply.
 */
export type Happening =
  /** Pods serve nothing for a while; what they hold waits. */
  | {
      readonly kind: 'stall';
      readonly at: number;
      readonly pods: readonly number[];
      readonly duration: number;
    }
  /** Pods answer everything at once, after `latency` ms (0.5), with an error. */
  | {
      readonly kind: 'failFast';
      readonly at: number;
      readonly pods: readonly number[];
      readonly duration: number;
      readonly latency?: number;
    }
  /** Pods work at another speed for a while: 0.1 is ten times as slow. */
  | {
      readonly kind: 'speed';
      readonly at: number;
      readonly pods: readonly number[];
      readonly duration: number;
      readonly speed: number;
    }
  /** New pods, cold at first: for `coldFor` ms (0) at `coldSpeed` (0.3). */
  | {
      readonly kind: 'join';
      readonly at: number;
      readonly count: number;
      readonly coldFor?: number;
      readonly coldSpeed?: number;
    }
  /** Pods go: having served what they hold, or abruptly, so that it fails and so do calls until clients know. */
  | {
      readonly kind: 'leave';
      readonly at: number;
      readonly pods: readonly number[];
      readonly abrupt?: boolean;
    }
  /** Every pod that was there at the start is replaced by a new one, one each `every` ms. */
  | {
      readonly kind: 'rollingRestart';
      readonly at: number;
      readonly every: number;
      readonly abrupt?: boolean;
      readonly coldFor?: number;
      readonly coldSpeed?: number;
    }
  /** The event loop of clients is blocked: answers and timers wait until it is free again. */
  | {
      readonly kind: 'pause';
      readonly at: number;
      readonly clients: readonly number[];
      readonly duration: number;
    };

/** Clients, pods and what happens between them, as plain data. */
export interface Scenario {
  /** @default 10 */
  readonly clients?: number;
  /** @default 10 */
  readonly pods?: number;
  /** Calls in all. @default 100,000 */
  readonly requests?: number;
  /** Share of the calls, from the start, that are simulated and not counted. @default 0.1 */
  readonly warmup?: number;
  /** Offered work as a share of what the first pods can do. @default 0.7 */
  readonly utilisation?: number;
  /** Time a call takes on a pod of speed 1. @default exponential with a mean of 10 ms */
  readonly service?: Distribution;
  /** Times between calls, of all clients together; scaled to the utilisation, but for a trace. @default exponential */
  readonly arrivals?: Distribution;
  /** Calls that a pod serves at a time; others wait at the pod, first come, first served. @default 1 */
  readonly workers?: number;
  /** Speed of each pod, 1 is usual; repeated when there are more pods. @default [1] */
  readonly speeds?: readonly number[];
  /** Zone of each pod and of each client; repeated likewise. */
  readonly podZones?: readonly string[];
  readonly clientZones?: readonly string[];
  /** Weight of each pod's endpoint; repeated likewise. */
  readonly weights?: readonly number[];
  /** One way between client and pod, in ms. @default 0 */
  readonly network?: number;
  /** Further attempts after a failed one. @default 0 */
  readonly retries?: number;
  /** Each client hears of a changed set at a time of its own up to this late, in ms. @default 0 */
  readonly discoveryDelay?: number;
  /** How many different hash keys calls have; none when 0. @default 0 */
  readonly keys?: number;
  readonly happenings?: readonly Happening[];
  /** Which of the pods a client sees, as `subset` chooses. @default all */
  readonly view?: (client: number, endpoints: readonly Endpoint[]) => readonly Endpoint[];
  /** @default 1 */
  readonly seed?: number;
}

export type FullScenario = Required<Omit<Scenario, 'view' | 'podZones' | 'clientZones' | 'weights'>> &
  Pick<Scenario, 'view' | 'podZones' | 'clientZones' | 'weights'>;

const time = number(0, 1e12);
/** What calls wait for: balancers may look at the clock many times a second meanwhile. */
const wait = number(0, 1e8);
const speed = number(1e-6, 1e6);
const indexes = arrayOf(integer(0));

/** What is repeated for all pods or clients. */
const someOf =
  (check: Check): Check =>
  (value, name) => {
    arrayOf(check)(value, name);
    if ((value as readonly unknown[]).length === 0)
      throw new TypeError(`option ${name} must hold at least one value`);
  };

const happenings: Readonly<Record<string, { readonly checks: Shape; readonly needs: readonly string[] }>> = {
  stall: { checks: { pods: indexes, duration: wait }, needs: ['pods', 'duration'] },
  failFast: { checks: { pods: indexes, duration: time, latency: wait }, needs: ['pods', 'duration'] },
  speed: { checks: { pods: indexes, duration: time, speed }, needs: ['pods', 'duration', 'speed'] },
  join: { checks: { count: integer(1, 1e6), coldFor: time, coldSpeed: speed }, needs: ['count'] },
  leave: { checks: { pods: indexes, abrupt: boolean }, needs: ['pods'] },
  rollingRestart: {
    checks: { every: number(1e-3, 1e12), abrupt: boolean, coldFor: time, coldSpeed: speed },
    needs: ['every'],
  },
  pause: { checks: { clients: indexes, duration: wait }, needs: ['clients', 'duration'] },
};

const checkHappening: Check = (value, name) => {
  const kind = (value as { kind?: unknown } | null)?.kind;
  oneOf(...Object.keys(happenings))(kind, `${name}.kind`);
  const { checks, needs } = happenings[kind as string] as (typeof happenings)[string];
  shape({ kind: string, at: time, ...checks })(value, name);
  for (const key of ['at', ...needs]) {
    if ((value as Record<string, unknown>)[key] === undefined)
      throw new TypeError(`option ${name}.${key} is missing: a ${kind} needs it`);
  }
};

export const scenarioShape: Shape = {
  clients: integer(1, 100_000),
  pods: integer(1, 100_000),
  requests: integer(1, 100_000_000),
  warmup: number(0, 0.99),
  utilisation: number(0.001, 10),
  service: checkDistribution,
  arrivals: checkDistribution,
  workers: integer(1, 1e6),
  speeds: someOf(speed),
  podZones: someOf(string),
  clientZones: someOf(string),
  weights: someOf(number(0)),
  network: wait,
  retries: integer(0, 100),
  discoveryDelay: time,
  keys: integer(0, 10_000_000),
  happenings: arrayOf(checkHappening),
  view: func,
  seed: integer(0),
};

export function fullScenario(scenario: Scenario): FullScenario {
  return {
    clients: 10,
    pods: 10,
    requests: 100_000,
    warmup: 0.1,
    utilisation: 0.7,
    service: { kind: 'exponential', mean: 10 },
    arrivals: { kind: 'exponential', mean: 1 },
    workers: 1,
    speeds: [1],
    network: 0,
    retries: 0,
    discoveryDelay: 0,
    keys: 0,
    happenings: [],
    seed: 1,
    ...withoutUndefined(scenario),
  };
}

function withoutUndefined(scenario: Scenario): Scenario {
  return Object.fromEntries(Object.entries(scenario).filter(([, value]) => value !== undefined));
}
