import { checkOptions, func, shape } from '../core/options.ts';
import type { Policy } from './simulate/client.ts';
import { sampler } from './simulate/distribution.ts';
import { fullScenario, type Scenario, scenarioShape } from './simulate/scenario.ts';
import { type Driver, World } from './simulate/world.ts';

export type { Policy, PolicyContext } from './simulate/client.ts';
export type { Distribution } from './simulate/distribution.ts';
export { simulationSvg, simulationTable } from './simulate/report.ts';
export type { Happening, Scenario } from './simulate/scenario.ts';
export { scenarios } from './simulate/scenarios.ts';

export interface SimulateOptions extends Scenario {
  /** What is compared, by name. Each client gets a balancer of its own. */
  readonly policies: Readonly<Record<string, Policy>>;
  /** Whether the central-queue ideal and the oracle are run too, to compare with. @default true */
  readonly references?: boolean;
  /** Hears how far a long run is: calls ended, calls in all, and what is being run. */
  readonly onProgress?: (ended: number, requests: number, name: string) => void;
}

/** How the calls of one run fared. Times in ms, from the call's start to its answer, of calls that were served; NaN where none was. */
export interface RunResult {
  readonly mean: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  /** Share of the calls that failed, of 1. */
  readonly failed: number;
  /** The most attempts that a pod received, as a multiple of an even share of those made while it was there. */
  readonly maxOverMean: number;
  readonly pods: readonly PodResult[];
}

export interface PodResult {
  readonly name: string;
  readonly attempts: number;
  /** Attempts as a multiple of an even share of those made while the pod was there. */
  readonly share: number;
  /** Attempts in each second of the run. */
  readonly timeline: readonly number[];
}

export interface PolicyResult extends RunResult {
  /** p99 as a multiple of the ideal's. */
  readonly overIdeal?: number;
  /** p99 as a multiple of the oracle's. */
  readonly overOracle?: number;
}

export interface SimulationResult {
  readonly policies: Readonly<Record<string, PolicyResult>>;
  /** One central queue for all pods: the best that can be where pods are alike. */
  readonly ideal?: RunResult;
  /** The shortest queue, known at every moment. */
  readonly oracle?: RunResult;
}

/** More would not fit into memory, where each client sees every pod. */
const mostPairs = 10_000_000;
/** ms that all calls may take together: balancers may look at the clock each 25 ms meanwhile, and more would take hours. */
const mostWork = 1e10;

/**
 * Plays calls of M clients to N pods against balancers, by discrete events on a simulated clock: the balancers are
 * the real ones, through the sequence of pick, begin and release that the client uses, each client seeing its own
 * calls only. The same options give the same result.
 *
 * @throws {TypeError | RangeError} for options that are wrong, at once; for a happening to a pod or client that is not
 * there, or that leaves no pod, when it happens.
 */
export function simulate(options: SimulateOptions): SimulationResult {
  checkOptions(
    'simulate',
    {
      ...scenarioShape,
      policies: (value, name) => {
        shape(Object.fromEntries(Object.keys(value ?? {}).map((key) => [key, func])))(value, name);
      },
      references: (value, name) => {
        if (typeof value !== 'boolean') throw new TypeError(`option ${name} must be true or false`);
      },
      onProgress: func,
    },
    options,
  );
  const { policies, references = true, onProgress, ...rest } = options;
  if (policies === undefined) throw new TypeError('simulate: option policies is missing');
  const scenario = fullScenario(rest);
  const { clients, pods, view } = scenario;
  if (view === undefined && clients * pods > mostPairs)
    throw new RangeError(
      `simulate: clients × pods must be at most ${mostPairs}, got ${clients * pods}: give a view`,
    );
  const work =
    (scenario.requests * sampler(scenario.service, () => 0).mean) /
    scenario.speeds.reduce((a, b) => Math.min(a, b));
  if (work > mostWork)
    throw new RangeError(
      `simulate: requests × mean service time ÷ least speed must be at most ${mostWork} ms, got ${work}: scale all times down`,
    );
  const run = (name: string, driver: Driver): RunResult => {
    const world = new World(scenario, driver);
    world.run(onProgress && ((ended) => onProgress(ended, scenario.requests, name)));
    return resultOf(world);
  };
  const ideal = references ? run('ideal', 'ideal') : undefined;
  const oracle = references ? run('oracle', 'oracle') : undefined;
  const results = Object.entries(policies).map(([name, policy]): [string, PolicyResult] => {
    const result = run(name, policy);
    return [
      name,
      {
        ...result,
        ...(ideal && { overIdeal: result.p99 / ideal.p99 }),
        ...(oracle && { overOracle: result.p99 / oracle.p99 }),
      },
    ];
  });
  return {
    policies: Object.fromEntries(results),
    ...(ideal && { ideal }),
    ...(oracle && { oracle }),
  };
}

/** A share that rests on fewer attempts than this says nothing. */
const fewAttempts = 100;

function resultOf(world: World): RunResult {
  const times = world.latencies.subarray(0, world.served).sort();
  const at = (quantile: number): number =>
    times.length === 0 ? Number.NaN : (times[Math.ceil(quantile * times.length) - 1] as number);
  let sum = 0;
  for (const time of times) sum += time;
  const pods = world.pods.map((pod, i) => ({
    name: pod.endpoint.id,
    attempts: pod.received,
    share: pod.expected === 0 ? 0 : pod.received / pod.expected,
    timeline: world.timelines[i] as readonly number[],
  }));
  const telling = pods.filter((_, i) => (world.pods[i]?.expected ?? 0) >= fewAttempts);
  return {
    mean: times.length === 0 ? Number.NaN : sum / times.length,
    p50: at(0.5),
    p99: at(0.99),
    p999: at(0.999),
    max: at(1),
    failed: world.failed / (world.failed + world.served),
    maxOverMean: telling.reduce((most, { share }) => Math.max(most, share), 0),
    pods,
  };
}
