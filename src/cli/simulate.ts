import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { adaptive } from '../balancers/adaptive.ts';
import { consistentHash } from '../balancers/consistent-hash.ts';
import { leastConnection } from '../balancers/least-connection.ts';
import { peakEwma } from '../balancers/load.ts';
import { powerOfTwo } from '../balancers/power-of-two.ts';
import { random } from '../balancers/random.ts';
import { roundRobin } from '../balancers/round-robin.ts';
import { weightedRoundRobin } from '../balancers/weighted-round-robin.ts';
import { zoneAware } from '../balancers/zone-aware.ts';
import { shape } from '../core/options.ts';
import { simulationSvg, simulationTable } from '../testing/simulate/report.ts';
import { scenarioShape } from '../testing/simulate/scenario.ts';
import { scenarios } from '../testing/simulate/scenarios.ts';
import {
  type Distribution,
  type Policy,
  type Scenario,
  type SimulationResult,
  simulate,
} from '../testing/simulate.ts';
import type { Command } from './command.ts';

const policies: Readonly<Record<string, Policy>> = {
  random: (context) => random({ random: context.random }),
  roundRobin: ({ random }) => roundRobin({ random }),
  weightedRoundRobin: ({ random }) => weightedRoundRobin({ random }),
  powerOfTwo: ({ random }) => powerOfTwo({ random }),
  leastConnection: ({ random }) => leastConnection({ random }),
  peakEwma: ({ random, clock }) => powerOfTwo({ random, load: peakEwma({ clock }) }),
  adaptive: ({ random, clock }) => adaptive({ random, clock }),
  consistentHash: ({ random }) => consistentHash({ random }),
  boundedHash: ({ random }) => consistentHash({ random, boundedLoad: 1.25 }),
  zoneAware: ({ random, clock, zone }) =>
    zoneAware(adaptive({ random, clock }), { zone: zone ?? 'none', random }),
};

const usual = ['random', 'roundRobin', 'powerOfTwo', 'leastConnection', 'peakEwma', 'adaptive'];

const usage = `usage: steersman simulate [scenario] [options]

Plays calls of many clients to many pods against the balancers, on a simulated clock, and compares them with one
queue for all pods (ideal) and with the shortest queue known at every moment (oracle). Times are in ms.

  scenario              ${Object.keys(scenarios).slice(0, 7).join(', ')},
                        ${Object.keys(scenarios).slice(7).join(', ')}; equal by default
  --policies <a,b,…>    of ${Object.keys(policies).slice(0, 5).join(', ')},
                        ${Object.keys(policies).slice(5).join(', ')}
  --clients <n>         10 by default
  --pods <n>            10 by default
  --requests <n>        100000 by default
  --utilisation <u>     offered work as a share of what the pods can do; 0.7 by default
  --workers <n>         calls a pod serves at a time; 1 by default
  --speeds <a,b,…>      of the pods, repeated; 1 is usual
  --service <which>     constant, exponential, bimodal, pareto, logNormal, or a file with one measured time per line
  --mean <ms>           mean service time; 10 by default
  --arrivals <which>    the same for the times between calls; exponential by default
  --network <ms>        one way between client and pod; 0 by default
  --retries <n>         further attempts after a failed one; 0 by default
  --keys <n>            different hash keys, for the hashing policies; calls have none by default
  --file <path>         a scenario of your own, as JSON; options above change it
  --seed <n>            1 by default; the same seed gives the same figures
  --json                figures as JSON
  --svg <path>          also draws the tail latency of each policy`;

const kinds = ['constant', 'exponential', 'bimodal', 'pareto', 'logNormal'] as const;

async function distribution(which: string, mean: number): Promise<Distribution> {
  const kind = kinds.find((known) => known === which);
  if (kind !== undefined) return { kind, mean };
  let text: string;
  try {
    text = await readFile(which, 'utf8');
  } catch (cause) {
    throw new TypeError(`${which} is neither one of ${kinds.join(', ')} nor a file that can be read`, {
      cause,
    });
  }
  const values = text
    .split(/\s+/)
    .filter((line) => line !== '')
    .map(Number);
  const wrong = values.findIndex((value) => !(value >= 0));
  if (wrong !== -1) throw new TypeError(`${which}: value ${wrong + 1} is not a time in ms`);
  if (!values.some((value) => value > 0)) throw new TypeError(`${which} holds no time in ms above 0`);
  return { kind: 'trace', values };
}

function numbers(name: string, text: string): number[] {
  return text.split(',').map((part) => number(name, part));
}

function number(name: string, text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isNaN(value)) throw new TypeError(`--${name}: ${JSON.stringify(text)} is not a number`);
  return value;
}

async function scenarioIn(path: string): Promise<object> {
  try {
    const own: unknown = JSON.parse(await readFile(path, 'utf8'));
    shape(scenarioShape)(own, '');
    return own as object;
  } catch (cause) {
    throw new TypeError(`--file ${path}: ${(cause as Error).message}`, { cause });
  }
}

async function parse(args: readonly string[]): Promise<{
  name: string;
  scenario: Scenario;
  chosen: Record<string, Policy>;
  json: boolean;
  svg: string | undefined;
}> {
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      policies: text,
      clients: text,
      pods: text,
      requests: text,
      utilisation: text,
      workers: text,
      speeds: text,
      service: text,
      mean: text,
      arrivals: text,
      network: text,
      retries: text,
      keys: text,
      file: text,
      seed: text,
      json: { type: 'boolean', default: false },
      svg: text,
    },
  });
  const [name = 'equal', ...more] = positionals;
  if (more.length > 0) throw new TypeError(`one scenario at a time, got ${positionals.join(' ')}`);
  const preset = Object.hasOwn(scenarios, name) ? scenarios[name] : undefined;
  if (preset === undefined)
    throw new TypeError(
      `no scenario ${JSON.stringify(name)}: known are ${Object.keys(scenarios).join(', ')}`,
    );
  const own = values.file === undefined ? {} : await scenarioIn(values.file);
  const given: Record<string, unknown> = {};
  for (const key of [
    'clients',
    'pods',
    'requests',
    'utilisation',
    'workers',
    'network',
    'retries',
    'keys',
    'seed',
  ] as const) {
    const value = values[key];
    if (value !== undefined) given[key] = number(key, value);
  }
  if (values.speeds !== undefined) given['speeds'] = numbers('speeds', values.speeds);
  const mean = values.mean === undefined ? 10 : number('mean', values.mean);
  if (values.service !== undefined || values.mean !== undefined)
    given['service'] = await distribution(values.service ?? 'exponential', mean);
  if (values.arrivals !== undefined) given['arrivals'] = await distribution(values.arrivals, 1);
  const names = values.policies?.split(',') ?? usual;
  const chosen: Record<string, Policy> = {};
  for (const policy of names) {
    const known = Object.hasOwn(policies, policy) ? policies[policy] : undefined;
    if (known === undefined)
      throw new TypeError(
        `no policy ${JSON.stringify(policy)}: known are ${Object.keys(policies).join(', ')}`,
      );
    chosen[policy] = known;
  }
  return { name, scenario: { ...preset, ...own, ...given }, chosen, json: values.json, svg: values.svg };
}

/** Says what was to happen after the last call. */
function tellMissed({ happenings = [] }: Scenario, { policies }: SimulationResult): void {
  const timelines = Object.values(policies).flatMap(({ pods }) =>
    pods.map(({ timeline }) => timeline.length),
  );
  const seconds = timelines.reduce((most, length) => Math.max(most, length), 0);
  for (const { kind, at } of happenings)
    if (at >= seconds * 1_000)
      process.stderr.write(
        `steersman simulate: no ${kind} at ${at} ms: the last call began within ${seconds} s; give more --requests\n`,
      );
}

async function run(args: readonly string[]): Promise<number> {
  const { name, scenario, chosen, json, svg } = await parse(args);
  const shows = process.stderr.isTTY;
  const result = simulate({
    ...scenario,
    policies: chosen,
    ...(shows && {
      onProgress: (ended, requests, policy) => {
        process.stderr.write(`\r\x1b[K${policy} ${Math.round((100 * ended) / requests)} %`);
      },
    }),
  });
  if (shows) process.stderr.write('\r\x1b[K');
  tellMissed(scenario, result);
  if (svg !== undefined) {
    const { clients = 10, pods = 10, utilisation = 0.7 } = scenario;
    await writeFile(
      svg,
      simulationSvg(result, `${name}: ${clients} clients, ${pods} pods, utilisation ${utilisation}`),
    );
  }
  process.stdout.write(`${json ? JSON.stringify(result, undefined, 2) : simulationTable(result)}\n`);
  return 0;
}

export const command: Command = {
  summary: 'compare the balancers on a simulated clock',
  usage,
  run,
};
