import { styleText } from 'node:util';
import type { EndpointSnapshot } from '../../client/fleet.ts';
import type { FakePod } from '../../testing/fake-cluster/pod.ts';
import type { Act } from './acts.ts';
import type { Caller } from './caller.ts';
import type { Show } from './show.ts';

type Style = Parameters<typeof styleText>[0];

const barWidth = 60;
/** Widths of the columns; the whole fits a terminal of 80. */
const columns = [12, 14, 6, 10, 8, 8, 10, 9] as const;

const paint = (style: Style, text: string): string => styleText(style, text, { stream: process.stdout });

export const ms = (value: number | undefined): string =>
  value === undefined ? '–' : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
export const count = (value: number): string => String(value).replace(/\B(?=(\d{3})+$)/g, ' ');

/** The screen at one moment: the acts, the pods as the client sees them, both sides' figures. */
export function frame(show: Show, acts: readonly Act[]): string[] {
  const now = show.now;
  const snapshot = show.steersman.snapshot?.();
  const known = new Map(snapshot?.endpoints.map((one) => [one.endpoint.name, one]));
  const { service, caller } = show.steersman;
  return [
    '',
    `  ${paint('bold', `fetch('http://user-service:8080/…')`)}  wrapped by createFetch(), ${show.rate} calls/s`,
    '',
    `  ${bar(show.progress)} ${String(Math.round(show.progress * 100)).padStart(3)} %`,
    `  ${acts.map((act) => actLabel(act, show.act, acts)).join('  ')}`,
    `  ${paint('cyan', '▸')} ${show.act.story}`,
    '',
    paint('dim', row(['pod', 'doing', 'calls', 'in flight', 'p50', 'p99', 'circuit', 'state'])),
    ...service.pods.map((pod) => podRow(pod, caller, known.get(pod.name), now)),
    '',
    sideLine('steersman', caller, now, `retries ${count(snapshot?.retries ?? 0)}`),
    sideLine('plain fetch', show.plain.caller, now, 'virtual IP'),
    '',
  ];
}

function bar(share: number): string {
  const full = Math.round(share * barWidth);
  return paint('cyan', '█'.repeat(full)) + paint('dim', '░'.repeat(barWidth - full));
}

function actLabel(act: Act, current: Act, acts: readonly Act[]): string {
  if (act === current) return paint('bold', `● ${act.name}`);
  return acts.indexOf(act) < acts.indexOf(current)
    ? paint('green', `✓ ${act.name}`)
    : paint('dim', `○ ${act.name}`);
}

function row(cells: readonly string[]): string {
  return `  ${cells.map((cell, i) => (i < 2 ? cell.padEnd(columns[i] ?? 0) : cell.padStart(columns[i] ?? 0))).join('')}`;
}

function podRow(pod: FakePod, caller: Caller, known: EndpointSnapshot | undefined, now: number): string {
  const tally = caller.pods.get(pod.name);
  const cells = [
    pod.name.slice(pod.name.lastIndexOf('-', pod.name.lastIndexOf('-') - 1) + 1),
    doing(pod),
    count(known?.calls ?? tally?.calls ?? 0),
    String(known?.inflight ?? 0),
    ms(tally?.recentQuantile(now, 0.5)),
    ms(tally?.recentQuantile(now, 0.99)),
    known?.circuit ?? '–',
    known?.state ?? (pod.phase === 'running' ? '–' : 'removed'),
  ];
  const style = styleOf(pod, known);
  return style === undefined ? row(cells) : paint(style, row(cells));
}

/** What has been done to the pod, which the client is not told. */
function doing(pod: FakePod): string {
  if (pod.phase !== 'running') return pod.phase;
  if (pod.failure?.status !== undefined) return `answers ${pod.failure.status}`;
  if (typeof pod.latency === 'number') return `takes ${pod.latency} ms`;
  return pod.ready ? 'ready' : 'starting';
}

function styleOf(pod: FakePod, known: EndpointSnapshot | undefined): Style | undefined {
  if (pod.phase !== 'running') return 'dim';
  if (known !== undefined && known.circuit !== 'closed') return 'red';
  return doing(pod) === 'ready' ? undefined : 'yellow';
}

function sideLine(name: string, { all }: Caller, now: number, note: string): string {
  const failed = `${count(all.failed)} failed`.padStart(12);
  return [
    `  ${paint('bold', name.padEnd(12))}`,
    `${count(all.calls)} calls`.padStart(12),
    paint(all.failed > 0 ? 'red' : 'green', failed),
    `  p50 ${ms(all.recentQuantile(now, 0.5)).padStart(7)}`,
    `  p99 ${ms(all.recentQuantile(now, 0.99)).padStart(7)}`,
    `  ${paint('dim', note)}`,
  ].join('');
}
