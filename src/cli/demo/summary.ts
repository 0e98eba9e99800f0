import { count, ms } from './frame.ts';
import type { ActFigures, Figures, Show } from './show.ts';

/** The figures as a JSON document. Durations in ms. */
export function json(show: Show): string {
  return JSON.stringify({
    seconds: Math.round(show.elapsed / 100) / 10,
    ...show.whole,
    reasons: Object.fromEntries(
      (['steersman', 'plain'] as const).map((side) => [side, Object.fromEntries(show[side].caller.reasons)]),
    ),
    acts: show.acts,
  });
}

const times = (value: number | undefined): string => (value === undefined ? '–' : `${value.toFixed(2)} ×`);

const lines: readonly (readonly [string, (figures: Figures) => string])[] = [
  ['calls', ({ calls }) => count(calls)],
  ['failed calls', ({ failed }) => count(failed)],
  ['retries', ({ retries }) => (retries === undefined ? '–' : count(retries))],
  ['busiest pod, to a fair share', ({ spread }) => times(spread)],
  ['p50', ({ p50 }) => ms(p50)],
  ['p99', ({ p99 }) => ms(p99)],
];

const row = (name: string, ours: string, theirs: string): string =>
  `  ${name.padEnd(30)}${ours.padStart(16)}${theirs.padStart(16)}`;

/** Both sides, side by side. */
export function summary(show: Show): string[] {
  const { steersman, plain } = show.whole;
  return [
    row('', 'steersman', 'plain fetch'),
    ...lines.map(([name, figure]) => row(name, figure(steersman), figure(plain))),
    '',
    row('failed calls and p99, by act', '', ''),
    ...show.acts.map((act) => row(`  ${act.name}`, inAct(act.steersman), inAct(act.plain))),
    '',
    ...(['steersman', 'plain'] as const).flatMap((side) => why(side, show)),
  ];
}

const inAct = ({ failed, p99 }: ActFigures['plain']): string => `${count(failed)}  ${ms(p99).padStart(7)}`;

function why(side: 'steersman' | 'plain', show: Show): string[] {
  const { reasons } = show[side].caller;
  if (reasons.size === 0) return [];
  const list = [...reasons].map(([reason, times]) => `${times} × ${reason}`).join(', ');
  return [`  ${side === 'plain' ? 'plain fetch' : side} failed by: ${list}`];
}
