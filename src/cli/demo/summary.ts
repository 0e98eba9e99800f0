import { count, ms } from './frame.ts';
import type { Figures, Show } from './show.ts';

/** The figures as a JSON document. Durations in ms. */
export function json(show: Show): string {
  const reasons = { steersman: show.steersman.caller.reasons, plain: show.plain.caller.reasons };
  const document = { seconds: show.elapsed / 1_000, ...show.whole, reasons, acts: show.acts };
  return JSON.stringify(document, (_, value: unknown) => {
    if (value instanceof Map) return Object.fromEntries(value);
    return typeof value === 'number' ? Math.round(value * 100) / 100 : value;
  });
}

const times = (value: number | undefined): string => (value === undefined ? '–' : `${value.toFixed(2)} ×`);

const lines: readonly (readonly [string, (figures: Figures) => string])[] = [
  ['calls', ({ calls }) => count(calls)],
  ['failed calls', ({ failed }) => count(failed)],
  ['retries', ({ retries }) => (retries === undefined ? '–' : count(retries))],
  ['busiest pod ÷ fair share', ({ spread }) => times(spread)],
  ['p50', ({ p50 }) => ms(p50)],
  ['p95', ({ p95 }) => ms(p95)],
  ['p99', ({ p99 }) => ms(p99)],
];

const row = (name: string, ours: string, theirs: string): string =>
  `  ${name.padEnd(30)}${ours.padStart(22)}${theirs.padStart(24)}`;

/** Both sides, side by side. */
export function summary(show: Show): string[] {
  const { steersman, plain } = show.whole;
  const heads = 'failed     p95     p99';
  return [
    row('', 'steersman', 'plain fetch'),
    ...lines.map(([name, figure]) => row(name, figure(steersman), figure(plain))),
    '',
    row('by act', heads, heads),
    ...show.acts.map((act) => row(act.name, inAct(act.steersman), inAct(act.plain))),
    '',
    ...(['steersman', 'plain'] as const).flatMap((side) => why(side, show)),
  ];
}

const inAct = ({ failed, p95, p99 }: Figures): string =>
  `${count(failed).padStart(6)}${ms(p95).padStart(8)}${ms(p99).padStart(8)}`;

function why(side: 'steersman' | 'plain', show: Show): string[] {
  const { reasons } = show[side].caller;
  if (reasons.size === 0) return [];
  const list = [...reasons].map(([reason, number]) => `${number} × ${reason}`).join(', ');
  return [`  ${side === 'plain' ? 'plain fetch' : side} failed by: ${list}`];
}
