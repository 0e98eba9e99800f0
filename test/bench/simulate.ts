/**
 * The figures of `results/simulation.md`: tail latency of each policy over groups of scenarios, what a black hole costs
 * and how soon a healed pod is back, and fleets in which each client sees a subset. Takes some minutes.
 *
 * npm run bench:simulate
 */
import { adaptive } from '../../src/balancers/adaptive.ts';
import { leastConnection } from '../../src/balancers/least-connection.ts';
import { peakEwma } from '../../src/balancers/load.ts';
import { powerOfTwo } from '../../src/balancers/power-of-two.ts';
import { random } from '../../src/balancers/random.ts';
import { roundRobin } from '../../src/balancers/round-robin.ts';
import { choose } from '../../src/resolvers/subset.ts';
import { type Policy, type PolicyResult, type Scenario, simulate } from '../../src/testing/simulate.ts';
import { endpoint } from '../../src/testing/values.ts';

const adaptively: Policy = ({ clock, random }) => adaptive({ clock, random });
const policies: Readonly<Record<string, Policy>> = {
  random: (context) => random({ random: context.random }),
  'round-robin': ({ random }) => roundRobin({ random }),
  'two choices': ({ random }) => powerOfTwo({ random }),
  'least connection': ({ random }) => leastConnection({ random }),
  'two choices by peak EWMA': ({ clock, random }) => powerOfTwo({ random, load: peakEwma({ clock }) }),
  adaptive: adaptively,
};

const shapes = [
  [5, 5],
  [10, 10],
  [20, 10],
  [3, 10],
  [10, 30],
] as const;
const requests = 60_000;
const speeds = [0.6, 2.5, 1, 1, 0.4, 1.3, 0.8, 3, 1.1, 0.7];
/** ms of simulated time that a run takes. */
const length = (pods: number, utilisation: number): number => (requests * 10) / (pods * utilisation);

const groups: Readonly<Record<string, (clients: number, pods: number, utilisation: number) => Scenario>> = {
  'equal pods, exponential': () => ({}),
  bimodal: () => ({ service: { kind: 'bimodal', mean: 10 } }),
  'Pareto 1.5': () => ({ service: { kind: 'pareto', mean: 10 } }),
  'pods 3–7 × apart': (clients) => ({ speeds: clients % 2 === 0 ? [1, 3, 1.7] : speeds }),
  'one pod stalls 2 s': (_, pods, utilisation) => ({
    happenings: [{ kind: 'stall', at: length(pods, utilisation) * 0.4, pods: [0], duration: 2_000 }],
  }),
};

const lines: string[] = [];
const row = (cells: readonly (string | number)[]): void => void lines.push(`| ${cells.join(' | ')} |`);
const head = (cells: readonly string[]): void => {
  row(cells);
  row(cells.map(() => '---'));
};
const progress = (what: string): void => void process.stderr.write(`${what}\n`);

lines.push(
  '# Simulated figures',
  '',
  `\`npm run bench:simulate\`, Node ${process.version}. p99 over that of one central queue, geometric means over`,
  `${shapes.map(([clients, pods]) => `${clients} × ${pods}`).join(', ')} clients × pods at utilisations of 0.5, 0.7 and 0.9;`,
  `${requests.toLocaleString('en')} calls each, 10 ms on average, one at a time per pod. No circuits, no retries.`,
  '',
);
const table = new Map<string, number[]>([...Object.keys(policies), 'oracle'].map((name) => [name, []]));
let worst = { ratio: 0, where: '' };
for (const [group, scenarioOf] of Object.entries(groups)) {
  progress(group);
  const logs = new Map<string, number>();
  for (const [clients, pods] of shapes) {
    for (const utilisation of [0.5, 0.7, 0.9]) {
      const {
        policies: results,
        oracle,
        ideal,
      } = simulate({
        clients,
        pods,
        utilisation,
        requests,
        seed: clients * 100 + pods * 10 + Math.round(utilisation * 10),
        ...scenarioOf(clients, pods, utilisation),
        policies,
      });
      const add = (name: string, value: number): void => {
        logs.set(name, (logs.get(name) ?? 0) + Math.log(value) / (shapes.length * 3));
      };
      for (const [name, { overIdeal = Number.NaN }] of Object.entries(results)) add(name, overIdeal);
      add('oracle', (oracle?.p99 ?? Number.NaN) / (ideal?.p99 ?? Number.NaN));
      const ratio = (results['adaptive'] as PolicyResult).p99 / (results['round-robin'] as PolicyResult).p99;
      if (ratio > worst.ratio) worst = { ratio, where: `${group}, ${clients} × ${pods} at ${utilisation}` };
    }
  }
  for (const [name, log] of logs) table.get(name)?.push(Math.exp(log));
}
head(['policy', ...Object.keys(groups)]);
for (const [name, values] of table) row([name, ...values.map((value) => value.toFixed(2))]);
lines.push(
  '',
  `The single scenario in which adaptive comes closest to round-robin: ${worst.ratio.toFixed(2)} of its p99 (${worst.where}).`,
  '',
  '## One of ten pods fails every call in 0.5 ms, for 60 s of 143 s',
  '',
);
progress('black hole');
const hole = simulate({
  policies,
  references: false,
  happenings: [{ kind: 'failFast', at: 30_000, pods: [0], duration: 60_000 }],
});
head(['policy', 'calls that fail, without retry', 'while it fails', 'its share 5–15 s after it is well']);
for (const [name, { failed, pods }] of Object.entries(hole.policies)) {
  const calls = (pod: (typeof pods)[number], from: number, to: number): number =>
    pod.timeline.slice(from, to).reduce((sum, count) => sum + count, 0);
  const share = (from: number, to: number): number =>
    calls(pods[0] as (typeof pods)[number], from, to) /
    pods.reduce((sum, pod) => sum + calls(pod, from, to), 0);
  row([
    name,
    `${(failed * 100).toFixed(3)} %`,
    `${(share(31, 90) * 100).toFixed(3)} %`,
    (share(95, 105) * pods.length).toFixed(2),
  ]);
}

lines.push('', '## Subsets: 1,000 clients of 5,000 pods', '');
head([
  'size',
  'connections per pod: mean',
  'least ÷ mean',
  'most ÷ mean',
  'changed by 1 % more pods',
  'calls: most ÷ mean',
  'p99, ms',
]);
const fleet = Array.from({ length: 5_050 }, (_, i) =>
  endpoint({ address: `10.1.${i >> 8}.${i & 255}`, id: `pod-${i}` }),
);
for (const size of [20, 50, 100, 200]) {
  progress(`subset of ${size}`);
  const connections = new Map<string, number>(fleet.slice(0, 5_000).map(({ id }) => [id, 0]));
  let changed = 0;
  for (let client = 0; client < 1_000; client++) {
    const mine = choose(fleet.slice(0, 5_000), size, `client ${client}`);
    for (const { id } of mine) connections.set(id, (connections.get(id) ?? 0) + 1);
    const known = new Set(mine);
    changed += choose(fleet, size, `client ${client}`).filter((one) => !known.has(one)).length;
  }
  const mean = (1_000 * size) / 5_000;
  const counts = [...connections.values()];
  const { policies: results } = simulate({
    clients: 1_000,
    pods: 5_000,
    utilisation: 0.5,
    requests: 1_000_000,
    view: (client, endpoints) => choose(endpoints, size, `client ${client}`),
    policies: { adaptive: adaptively },
    references: false,
  });
  const { maxOverMean, p99 } = results['adaptive'] as PolicyResult;
  row([
    size,
    mean.toFixed(0),
    (Math.min(...counts) / mean).toFixed(2),
    (Math.max(...counts) / mean).toFixed(2),
    `${((changed / (1_000 * size)) * 100).toFixed(2)} %`,
    maxOverMean.toFixed(2),
    p99.toFixed(0),
  ]);
}
process.stdout.write(`${lines.join('\n')}\n`);
