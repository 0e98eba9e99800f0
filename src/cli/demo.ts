import { parseArgs } from 'node:util';
import { createFetch } from '../client/fetch.ts';
import { type Clock, systemClock, systemRandom } from '../core/clock.ts';
import { kubernetes } from '../resolvers/kubernetes.ts';
import type { PodHandler } from '../testing/fake-cluster/pod.ts';
import { FakeCluster } from '../testing/fake-cluster.ts';
import type { Command } from './command.ts';
import { type Act, acts, replicas } from './demo/acts.ts';
import { Caller } from './demo/caller.ts';
import { count, frame, ms } from './demo/frame.ts';
import { Screen } from './demo/screen.ts';
import { Show } from './demo/show.ts';
import { json, summary } from './demo/summary.ts';

const usage = `usage: steersman demo [options]

Starts a small cluster on loopback, calls a service in it through a wrapped fetch and through plain fetch to a
virtual IP, and shows what becomes of both while pods come, go, slow down and fail.

  --rate <n>   calls per second of each side; 120 by default
  --json       print the figures only, as one JSON object

Exit code: 0, 1 when a call through the wrapped fetch failed, 130 when interrupted.`;

/** ms from a change of a pod to the change of its slice: about what a real cluster takes. */
const propagation = 100;

/** ms from the start of a pod to its being ready. */
const startup = 200;

/** What a shell reports of a process that SIGINT has ended. */
const interrupted = 130;

/** ms between two frames. */
const frameInterval = 200;

/** ms between two lines where there is no terminal. */
const lineInterval = 2_000;

/** ms a pod takes while it is well. */
const podLatency = (): number => 20 + systemRandom() * 40;

const answer: PodHandler = (request, response, pod) => {
  request.resume();
  response.setHeader('x-pod', pod.name);
  response.end(`${pod.name}\n`);
};

export interface DemoOptions {
  readonly rate: number;
  readonly json: boolean;
  /** The acts to play; all by default. */
  readonly acts?: readonly Act[];
}

function parse(args: readonly string[]): DemoOptions {
  const { values } = parseArgs({
    args: [...args],
    options: { rate: { type: 'string', default: '120' }, json: { type: 'boolean', default: false } },
  });
  const rate = Number(values.rate);
  if (!(rate >= 1 && rate <= 1_000))
    throw new RangeError(`--rate must be between 1 and 1000 calls per second, got ${values.rate}`);
  return { rate, json: values.json };
}

/** Plays the demo; resolves to the exit code. */
export async function demo(options: DemoOptions, out: NodeJS.WriteStream = process.stdout): Promise<number> {
  const clock = systemClock;
  const interrupt = new AbortController();
  const onInterrupt = (): void => interrupt.abort();
  process.once('SIGINT', onInterrupt);
  try {
    return await play(options, out, clock, interrupt.signal);
  } catch (error) {
    if (interrupt.signal.aborted) return interrupted;
    throw error;
  } finally {
    process.off('SIGINT', onInterrupt);
  }
}

async function play(
  options: DemoOptions,
  out: NodeJS.WriteStream,
  clock: Clock,
  interrupt: AbortSignal,
): Promise<number> {
  await using cluster = await FakeCluster.start({ propagation });
  const settings = { replicas, startup, latency: podLatency, handler: answer };
  const [service, twin] = await Promise.all([
    cluster.service('user-service', settings),
    cluster.service('user-service-plain', settings),
  ]);
  const virtualIp = await twin.virtualIp();
  await using fetch = createFetch({ resolver: kubernetes({ kubeconfig: cluster.kubeconfig }) });
  const show = new Show(
    {
      service,
      caller: new Caller(fetch, 'http://user-service:8080', clock),
      snapshot: () => fetch.snapshot()[0],
    },
    { service: twin, caller: new Caller(globalThis.fetch, virtualIp.url, clock) },
    { clock, rate: options.rate, acts: options.acts ?? acts },
  );
  await show.warmUp();
  const stop = options.json ? () => {} : display(show, options.acts ?? acts, out, clock);
  try {
    await show.play(interrupt);
  } finally {
    stop();
  }
  out.write(options.json ? `${json(show)}\n` : `\n${summary(show).join('\n')}\n`);
  return show.whole.steersman.failed === 0 ? 0 : 1;
}

/** Keeps the screen, or a log where there is none, up to date until the returned function is called. */
function display(show: Show, played: readonly Act[], out: NodeJS.WriteStream, clock: Clock): () => void {
  if (out.isTTY !== true) return every(clock, lineInterval, () => out.write(`${line(show)}\n`));
  const screen = new Screen(out);
  const restore = (): void => screen.close();
  process.once('exit', restore);
  const stop = every(clock, frameInterval, () => screen.draw(frame(show, played)));
  return () => {
    stop();
    process.off('exit', restore);
    restore();
  };
}

function line(show: Show): string {
  const side = (name: string, { all }: Caller): string =>
    `${name} ${count(all.calls)} calls, ${count(all.failed)} failed, p99 ${ms(all.recentQuantile(show.now, 0.99))}`;
  const seconds = `${(show.elapsed / 1_000).toFixed(0)} s`.padStart(5);
  return `${seconds}  ${show.act.name.padEnd(16)}  ${side('steersman', show.steersman.caller)}; ${side('plain fetch', show.plain.caller)}`;
}

function every(clock: Clock, interval: number, action: () => void): () => void {
  let cancel = (): void => {};
  const again = (): void => {
    cancel = clock.schedule(interval, () => {
      action();
      again();
    });
  };
  action();
  again();
  return () => cancel();
}

export const command: Command = {
  summary: 'show what balancing does, on a small cluster of its own',
  usage,
  run: async (args) => demo(parse(args)),
};
