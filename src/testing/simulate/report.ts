import type { RunResult, SimulationResult } from '../simulate.ts';

interface Row {
  readonly name: string;
  readonly result: RunResult;
  readonly overIdeal: number | undefined;
}

function rowsOf({ ideal, oracle, policies }: SimulationResult): Row[] {
  const all: [string, RunResult | undefined][] = [
    ['ideal', ideal],
    ['oracle', oracle],
    ...Object.entries(policies),
  ];
  return all.flatMap(([name, result]) =>
    result === undefined ? [] : [{ name, result, overIdeal: ideal && result.p99 / ideal.p99 }],
  );
}

const ms = (value: number): string =>
  Number.isNaN(value) ? '–' : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
const times = (value = Number.NaN): string => (Number.isNaN(value) ? '–' : value.toFixed(2));

/** The figures as lines of text: times in ms, `p99 ÷` as a multiple of the ideal's. */
export function simulationTable(result: SimulationResult): string {
  const cells = [
    ['policy', 'p50', 'p99', 'p99.9', 'p99 ÷', 'failed', 'max ÷ mean'],
    ...rowsOf(result).map(({ name, result: run, overIdeal }) => [
      name,
      ms(run.p50),
      ms(run.p99),
      ms(run.p999),
      times(overIdeal),
      `${(run.failed * 100).toFixed(3)} %`,
      times(run.maxOverMean || undefined),
    ]),
  ];
  const widths = (cells[0] as string[]).map((_, column) =>
    Math.max(...cells.map((row) => (row[column] as string).length)),
  );
  return cells
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[column] as number),
        )
        .join('  '),
    )
    .join('\n');
}

const barHeight = 22;
const left = 150;
const plotWidth = 520;
const right = 90;
const top = 46;
const bars = [
  { key: 'p50', fill: '#9ecae1' },
  { key: 'p99', fill: '#4292c6' },
  { key: 'p999', fill: '#084594' },
] as const;

/** The same as a drawing: median and tail of each policy, on a logarithmic scale. */
export function simulationSvg(result: SimulationResult, title: string): string {
  const rows = rowsOf(result).filter(({ result: run }) => run.p999 > 0);
  // A logarithmic scale has no place for 0.
  const values = rows
    .flatMap(({ result: run }) => bars.map(({ key }) => run[key]))
    .filter((value) => value > 0);
  const least = 10 ** Math.floor(Math.log10(Math.min(...values)));
  const most = 10 ** Math.ceil(Math.log10(Math.max(...values)));
  const decades = Math.max(1, Math.log10(most / least));
  const x = (value: number): number =>
    left + (Math.log10(Math.max(value, least) / least) / decades) * plotWidth;
  const height = top + rows.length * barHeight + 40;
  const width = left + plotWidth + right;
  const lines: string[] = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    `<text x="${left}" y="18" font-size="14">${escaped(title)}</text>`,
    `<text x="${left}" y="36" fill="#555">p50, p99, p99.9 in ms; at the right, p99 as a multiple of the ideal</text>`,
  ];
  for (let decade = 0; decade <= Math.round(decades); decade++) {
    const value = Number((least * 10 ** decade).toPrecision(1));
    lines.push(
      `<line x1="${x(value).toFixed(1)}" x2="${x(value).toFixed(1)}" y1="${top}" y2="${height - 30}" stroke="#ddd"/>`,
      `<text x="${x(value).toFixed(1)}" y="${height - 14}" text-anchor="middle" fill="#555">${value}</text>`,
    );
  }
  rows.forEach(({ name, result: run, overIdeal }, i) => {
    const y = top + i * barHeight;
    lines.push(
      `<text x="${left - 8}" y="${y + 15}" text-anchor="end">${escaped(name)}</text>`,
      `<line x1="${x(run.p50).toFixed(1)}" x2="${x(run.p999).toFixed(1)}" y1="${y + 11}" y2="${y + 11}" stroke="#bbb"/>`,
      ...bars.map(
        ({ key, fill }) => `<circle cx="${x(run[key]).toFixed(1)}" cy="${y + 11}" r="5" fill="${fill}"/>`,
      ),
      `<text x="${width - 10}" y="${y + 15}" text-anchor="end">${times(overIdeal)}</text>`,
    );
  });
  lines.push('</svg>', '');
  return lines.join('\n');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
