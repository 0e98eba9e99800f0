import { parseArgs } from 'node:util';
import { FakeTime, jumps } from '../support/fake-time.ts';
import { namespaced, namespaceProblem, runApart } from '../support/namespace.ts';
import { chaos } from '../support/nemesis.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string', default: '10' },
    seconds: { type: 'string' },
    pods: { type: 'string', default: '5' },
    callers: { type: 'string', default: '50' },
  },
});

/** Where the machine allows it, in a network of its own, and with a wall clock that jumps. */
async function move(): Promise<number | undefined> {
  if (namespaced || jumps) return undefined;
  const problem = await namespaceProblem({ filters: true });
  const made = await FakeTime.make();
  if (problem !== undefined) console.log(`without packet faults: ${problem}`);
  if (typeof made === 'string') console.log(`without clock jumps: ${made}`);
  const env = typeof made === 'string' ? process.env : made.env;
  const args = process.argv.slice(1);
  if (problem !== undefined && typeof made === 'string') return undefined;
  const code = runApart(args, { env, network: problem === undefined });
  if (typeof made !== 'string') made[Symbol.dispose]();
  return code;
}

async function run(): Promise<number> {
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
  const seconds = values.seconds === undefined ? Number(values.minutes) * 60 : Number(values.seconds);
  console.log(`chaos with seed ${seed} for ${seconds} s (again with: npm run chaos -- --seed ${seed})`);
  const report = await chaos({ seed, seconds, pods: Number(values.pods), callers: Number(values.callers) });
  console.log(`calls            ${report.calls}`);
  console.log(`faults           ${report.faults}  ${JSON.stringify(report.injected)}`);
  console.log(`failed GETs      ${report.failed.GET}`);
  console.log(`failed POSTs     ${report.failed.POST}, of which ambiguous ${report.ambiguous}`);
  console.log(`told             ${JSON.stringify(report.told)}`);
  for (const line of report.examples) console.log(`  ${line}`);
  console.log(`executed twice   ${report.twice.length}`);
  console.log(`slowest call     ${Math.round(report.slowest)} ms`);
  console.log(`longest stall    ${Math.round(report.stall)} ms of our own event loop`);
  for (const violation of report.violations) console.error(`VIOLATION: ${violation}`);
  return report.violations.length === 0 && report.failed.GET === 0 ? 0 : 1;
}

process.exitCode = (await move()) ?? (await run());
