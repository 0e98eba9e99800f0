import { parseArgs } from 'node:util';
import { chaos } from '../support/nemesis.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seconds: { type: 'string', default: '60' },
    pods: { type: 'string', default: '5' },
    callers: { type: 'string', default: '50' },
  },
});

const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
console.log(`chaos with seed ${seed} for ${values.seconds} s (again with: npm run chaos -- --seed ${seed})`);
const report = await chaos({
  seed,
  seconds: Number(values.seconds),
  pods: Number(values.pods),
  callers: Number(values.callers),
});
console.log(`calls            ${report.calls}`);
console.log(`faults           ${report.faults}  ${JSON.stringify(report.injected)}`);
console.log(`failed GETs      ${report.failed.GET}`);
console.log(`failed POSTs     ${report.failed.POST}, of which ambiguous ${report.ambiguous}`);
console.log(`told             ${JSON.stringify(report.told)}`);
for (const line of report.examples) console.log(`  ${line}`);
console.log(`executed twice   ${report.twice.length}`);
console.log(`slowest call     ${Math.round(report.slowest)} ms`);
for (const violation of report.violations) console.error(`VIOLATION: ${violation}`);
process.exitCode = report.violations.length === 0 ? 0 : 1;
