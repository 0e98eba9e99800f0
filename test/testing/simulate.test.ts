import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { adaptive } from '../../src/balancers/adaptive.ts';
import { random } from '../../src/balancers/random.ts';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import type { Backend } from '../../src/core/backend.ts';
import { seeded } from '../../src/testing/seeded.ts';
import { sampler } from '../../src/testing/simulate/distribution.ts';
import {
  type Distribution,
  type Happening,
  type Policy,
  type Scenario,
  type SimulationResult,
  scenarios,
  simulate,
  simulationSvg,
  simulationTable,
} from '../../src/testing/simulate.ts';

const policies: Record<string, Policy> = {
  random: (context) => random({ random: context.random }),
  adaptive: ({ clock, random }) => adaptive({ clock, random }),
};

const run = (scenario: Scenario): SimulationResult => simulate({ requests: 20_000, ...scenario, policies });

test('the same options give the same figures, another seed others', () => {
  expect(run({})).toEqual(run({}));
  expect(run({ seed: 2 }).policies['random']?.p99).not.toBe(run({}).policies['random']?.p99);
});

test.each<[Distribution, number]>([
  [{ kind: 'exponential', mean: 10 }, 99263.61774726385],
  [{ kind: 'bimodal', mean: 10 }, 100236.84210526284],
  [{ kind: 'pareto', mean: 10 }, 99701.82021713628],
  [{ kind: 'logNormal', mean: 10 }, 100449.57901728853],
])('%j is drawn alike by every version of Node', (distribution, sum) => {
  const { draw } = sampler(distribution, seeded(1));
  let all = 0;
  for (let i = 0; i < 10_000; i++) all += draw();
  expect(all).toBe(sum);
});

// M/M/1: the time in system is exponential with mean S / (1 − ρ); a random split of Poisson arrivals is Poisson.
test('one pod behaves as theory says a single server does', () => {
  for (const utilisation of [0.3, 0.6]) {
    const { policies: results } = simulate({
      pods: 1,
      clients: 1,
      utilisation,
      requests: 200_000,
      policies,
      references: false,
    });
    const mean = 10 / (1 - utilisation);
    expect(results['random']?.mean).toBeGreaterThan(mean * 0.95);
    expect(results['random']?.mean).toBeLessThan(mean * 1.05);
    expect(results['random']?.p99).toBeGreaterThan(mean * Math.log(100) * 0.93);
    expect(results['random']?.p99).toBeLessThan(mean * Math.log(100) * 1.07);
  }
});

// Erlang C for 10 servers at a utilisation of 0.7: 0.2217 wait, for 10 / (10 × 0.3) = 3.33 ms on average.
test('the ideal is the central queue of theory', () => {
  const { ideal } = simulate({ requests: 200_000, policies: {} });
  expect(ideal?.mean).toBeGreaterThan((10 + 0.2217 * 3.333) * 0.98);
  expect(ideal?.mean).toBeLessThan((10 + 0.2217 * 3.333) * 1.02);
});

test('no policy beats the ideal, and the oracle is between', () => {
  const { ideal, oracle, policies: results } = run({});
  expect(oracle?.p99).toBeGreaterThan(ideal?.p99 as number);
  expect(results['adaptive']?.p99).toBeGreaterThan(oracle?.p99 as number);
  expect(results['random']?.p99).toBeGreaterThan(results['adaptive']?.p99 as number);
});

test('nothing is better than the ideal where pods are far away either', () => {
  const { ideal, oracle, policies: results } = run({ network: 5 });
  expect(oracle?.p99).toBeGreaterThan(ideal?.p99 as number);
  expect(oracle?.mean).toBeGreaterThan(ideal?.mean as number);
  expect(results['adaptive']?.p99).toBeGreaterThan(oracle?.p99 as number);
});

test('a balancer sees the sequence a client makes: pick, begin with the use counted, release when it has ended', () => {
  const log: string[] = [];
  const watch: Policy = () => ({
    pick: (backends) => backends[0],
    begin: (backend: Backend) => {
      log.push(`begin ${backend.inflight}`);
      return (outcome) => log.push(`end ${backend.inflight} ${outcome.kind}`);
    },
  });
  simulate({ clients: 1, pods: 2, requests: 3, utilisation: 0.001, policies: { watch }, references: false });
  expect(log).toEqual(Array.from({ length: 3 }, () => ['begin 1', 'end 0 response']).flat());
});

test('each client sees only its own calls', () => {
  const most: number[] = [];
  const watch: Policy = () => {
    const me = most.push(0) - 1;
    return {
      pick: (backends) => {
        most[me] = Math.max(most[me] as number, ...backends.map(({ inflight }) => inflight));
        return backends[0];
      },
    };
  };
  simulate({
    clients: 20,
    pods: 1,
    requests: 2_000,
    utilisation: 0.9,
    policies: { watch },
    references: false,
  });
  expect(most.length).toBe(20);
  expect(Math.max(...most)).toBeLessThan(10);
});

test('a stall delays what the pod holds, and loses nothing', () => {
  const { policies: results } = run({
    happenings: [{ kind: 'stall', at: 10_000, pods: [0], duration: 2_000 }],
  });
  expect(results['random']?.max).toBeGreaterThan(1_990);
  expect(results['random']?.failed).toBe(0);
});

test('troubles that overlap last as long as the longest, and slowness multiplies', () => {
  const figures = (...happenings: Happening[]): unknown => run({ happenings }).policies;
  const pods = [0];
  const stall: Happening = { kind: 'stall', at: 5_000, pods, duration: 2_000 };
  const failFast: Happening = { kind: 'failFast', at: 5_000, pods, duration: 2_000 };
  const pause: Happening = { kind: 'pause', at: 5_000, clients: [0], duration: 2_000 };
  for (const long of [stall, failFast, pause])
    expect(figures(long, { ...long, at: 5_500, duration: 100 })).toEqual(figures(long));
  expect(figures(stall, { ...stall, at: 6_000 })).toEqual(figures({ ...stall, duration: 3_000 }));
  const speed: Happening = { kind: 'speed', at: 5_000, pods, duration: 2_000, speed: 0.5 };
  expect(figures(speed, speed)).toEqual(figures({ ...speed, speed: 0.25 }));
  // The shorter one's end leaves the longer one's speed.
  const short: Happening = { ...speed, duration: 500, speed: 1 };
  expect(figures(speed, short)).toEqual(figures(speed));
});

test('a pod that is told to leave twice leaves once', () => {
  const leave: Happening = { kind: 'leave', at: 5_000, pods: [0] };
  const again: Happening = { kind: 'leave', at: 8_000, pods: [0, 0] };
  const pods = (...happenings: Happening[]): unknown =>
    run({ happenings }).policies['random']?.pods.map(({ share }) => share);
  expect(pods(leave, again)).toEqual(pods(leave));
});

test('a failing pod fails its calls; retries go elsewhere', () => {
  const failing: Scenario = { happenings: [{ kind: 'failFast', at: 0, pods: [0], duration: 1e9 }] };
  expect(run(failing).policies['random']?.failed).toBeCloseTo(0.1, 1);
  expect(run({ ...failing, retries: 2 }).policies['random']?.failed).toBe(0);
});

test('a crash loses what the pod holds and what is sent until clients know; a graceful leave loses nothing', () => {
  const leave = (abrupt: boolean): number | undefined =>
    run({ discoveryDelay: 1_000, happenings: [{ kind: 'leave', at: 10_000, pods: [0], abrupt }] }).policies[
      'random'
    ]?.failed;
  expect(leave(true)).toBeGreaterThan(0);
  expect(leave(false)).toBe(0);
});

test('pods that join take their share, and a rolling restart replaces every pod', () => {
  const joined = run({ happenings: [{ kind: 'join', at: 10_000, count: 5 }] }).policies['random'];
  expect(joined?.pods.length).toBe(15);
  for (const { share } of joined?.pods ?? []) expect(Math.abs(share - 1)).toBeLessThan(0.2);
  const restarted = run({ happenings: [{ kind: 'rollingRestart', at: 5_000, every: 1_000 }] }).policies[
    'random'
  ];
  expect(restarted?.pods.length).toBe(20);
  for (const { timeline } of restarted?.pods.slice(0, 10) ?? []) expect(timeline.length).toBeLessThan(16);
});

test('slow pods, workers, network and traces do what they say', () => {
  const base = run({ utilisation: 0.05 }).policies['random'];
  expect(run({ utilisation: 0.05, speeds: [0.5] }).policies['random']?.p50).toBeCloseTo(
    2 * (base?.p50 ?? 0),
    0,
  );
  expect(run({ utilisation: 0.05, network: 50 }).policies['random']?.p50).toBeCloseTo(
    100 + (base?.p50 ?? 0),
    0,
  );
  const traced = run({ utilisation: 0.05, service: { kind: 'trace', values: [1, 2, 3] }, workers: 4 });
  expect(traced.policies['random']?.p50).toBeCloseTo(2, 6);
  expect(traced.policies['random']?.p99).toBeCloseTo(3, 6);
});

test('every scenario that comes with it runs', () => {
  for (const scenario of Object.values(scenarios)) {
    const { policies: results } = simulate({
      ...scenario,
      policies: { roundRobin: ({ random }) => roundRobin({ random }) },
      references: false,
    });
    expect(results['roundRobin']?.p50).toBeGreaterThan(0);
  }
});

test('bad options are told at once, with their path', () => {
  const wrong =
    (options: object): (() => unknown) =>
    () =>
      simulate({ policies, ...options } as never);
  expect(wrong({ clients: 0 })).toThrow('simulate: option clients must be between 1 and 100000, got 0');
  expect(wrong({ happenings: [{ kind: 'stall', at: 1, pods: [0] }] })).toThrow(
    'option happenings[0].duration is missing',
  );
  expect(wrong({ happenings: [{ kind: 'boom' }] })).toThrow('option happenings[0].kind must be one of');
  expect(wrong({ service: { kind: 'pareto' } })).toThrow('option service.mean is missing');
  expect(wrong({ service: { kind: 'trace', values: [] } })).toThrow('option service.values must hold');
  expect(wrong({ service: { kind: 'constant', mean: 1, slowShare: 0.5 } })).toThrow(
    'unknown option service.slowShare: known are kind, mean',
  );
  for (const list of ['speeds', 'podZones', 'clientZones', 'weights'])
    expect(wrong({ [list]: [] })).toThrow(`option ${list} must hold at least one value`);
  expect(wrong({ service: { kind: 'exponential', mean: 1e9 }, requests: 100 })).toThrow(
    'simulate: requests × mean service time ÷ least speed must be at most 10000000000 ms, got 100000000000',
  );
  expect(wrong({ speeds: [1, 1e-6] })).toThrow('÷ least speed must be at most');
  expect(wrong({ pods: 100, arrivals: { kind: 'trace', values: [1e9] } })).toThrow(
    'simulate: 1000000 s of 100 pods are more than can be recorded: scale all times down',
  );
  expect(wrong({ network: 1e9 })).toThrow('option network must be between 0 and 100000000');
  expect(wrong({ happenings: [{ kind: 'pause', at: 1, clients: [10], duration: 1 }] })).toThrow(
    'there is no client 10, the last is 9',
  );
  expect(wrong({ view: () => undefined })).toThrow('option view must return an array');
  expect(wrong({ view: () => [] })).toThrow('option view shows client 0 none of the pods');
  expect(wrong({ policies: { mine: () => null } })).toThrow('a policy must return a Balancer');
  expect(wrong({ policies: { mine: 3 } })).toThrow('option policies.mine must be a function');
  expect(wrong({ policies: undefined })).toThrow('option policies is missing');
  expect(wrong({ clients: 1e5, pods: 1e5 })).toThrow('clients × pods must be at most 10000000');
  const all = Array.from({ length: 10 }, (_, i) => i);
  for (const abrupt of [true, false])
    for (const one of [{}, { policies: {} }, { references: false }])
      expect(wrong({ ...one, happenings: [{ kind: 'leave', at: 9, pods: all, abrupt }] })).toThrow(
        'no pod is left at 9 ms: let others join before',
      );
  expect(wrong({ happenings: [{ kind: 'leave', at: 0, pods: [99] }] })).toThrow('there is no pod 99');
  expect(() =>
    simulate({ requests: 10, policies: { bad: () => ({ pick: () => ({}) as Backend }) } }),
  ).toThrow('picked a backend that is not in the set');
});

test('a million calls take less than 10 s', () => {
  const began = performance.now();
  const calls: number[] = [];
  simulate({
    requests: 1_000_000,
    policies: { adaptive: policies['adaptive'] as Policy },
    references: false,
    onProgress: (ended) => calls.push(ended),
  });
  expect(performance.now() - began).toBeLessThan(10_000);
  expect(calls.length).toBe(100);
}, 30_000);

test('the table has a row for each, and the drawing is well formed', () => {
  const result = run({});
  const lines = simulationTable(result).split('\n');
  expect(lines.map((line) => line.split(' ')[0])).toEqual([
    'policy',
    'ideal',
    'oracle',
    'random',
    'adaptive',
  ]);
  const svg = simulationSvg(result, 'a < b & c');
  expect(svg).toContain('a &lt; b &amp; c');
  expect(svg.match(/<circle/g)?.length).toBe(12);
  expect(svg).not.toMatch(/NaN|undefined/);
});

test('table and drawing bear runs in which all calls fail, take no time, or hardly any', () => {
  const all = Array.from({ length: 10 }, (_, i) => i);
  const failing = simulate({
    requests: 1_000,
    happenings: [{ kind: 'failFast', at: 0, pods: all, duration: 1e9 }],
    policies,
  });
  expect(simulationTable(failing)).not.toContain('NaN');
  expect(failing.policies['random']?.p50).toBeNaN();
  const most = simulate({ requests: 1_000, service: { kind: 'trace', values: [0, 0, 0, 7] }, policies });
  const short = simulate({
    requests: 1_000,
    utilisation: 0.1,
    service: { kind: 'constant', mean: 1e-6 },
    policies,
  });
  for (const result of [failing, most, short, simulate({ requests: 9, references: false, policies: {} })])
    expect(simulationSvg(result, '')).not.toMatch(/NaN|undefined|Infinity|0{3}9{3}/);
  expect(simulationSvg(most, '').match(/<circle/g)?.length).toBe(12);
});

const cli = (...args: string[]): string =>
  execFileSync('node_modules/.bin/node', ['src/cli/main.ts', 'simulate', ...args], {
    encoding: 'utf8',
    stdio: 'pipe',
  });

test('steersman simulate prints a table, JSON, and draws', () => {
  const svg = join(mkdtempSync(join(tmpdir(), 'simulate-')), 'tail.svg');
  expect(cli('stall', '--requests', '5000', '--policies', 'adaptive,random', '--svg', svg)).toMatch(
    /^policy .*\nideal /,
  );
  expect(readFileSync(svg, 'utf8')).toContain('stall: 10 clients, 10 pods');
  const json = JSON.parse(cli('--requests', '5000', '--policies', 'zoneAware', '--json'));
  expect(json.policies.zoneAware.p99).toBeGreaterThan(0);
}, 30_000);

test('steersman simulate takes measured times and a scenario from files, and says what is wrong with them', () => {
  const dir = mkdtempSync(join(tmpdir(), 'simulate-'));
  const times = join(dir, 'times.txt');
  writeFileSync(times, '5\n5\n5\n');
  const file = join(dir, 'scenario.json');
  writeFileSync(file, JSON.stringify({ utilisation: 0.01, pods: 3 }));
  const result = JSON.parse(
    cli('--requests', '2000', '--policies', 'random', '--service', times, '--file', file, '--json'),
  );
  expect(result.policies.random.p50).toBeCloseTo(5, 6);
  expect(result.policies.random.pods.length).toBe(3);
  writeFileSync(times, '5\nfive\n');
  expect(() => cli('--service', times)).toThrow('value 2 is not a time in ms');
  expect(() => cli('--policies', 'best')).toThrow('no policy "best"');
}, 30_000);
