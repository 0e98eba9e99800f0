/** One subject in a process of its own, so that nobody pays for another's garbage. Calls when it is told to. */
import { sample } from './measure.ts';
import { type Ports, subjects } from './subjects.ts';

/** What the process is told: how many calls, and how many of them at a time. */
export interface Order {
  readonly calls: number;
  readonly concurrency: number;
}

const [, , name, ports] = process.argv as [string, string, string, string];
const subject = await subjects[name]?.(JSON.parse(ports) as Ports);
if (subject === undefined) throw new Error(`no subject ${name}`);

process.on('message', async ({ calls, concurrency }: Order) => {
  process.send?.(await sample(subject, calls, concurrency));
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
