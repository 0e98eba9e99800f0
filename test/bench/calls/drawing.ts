import type { Row } from './run.ts';

const bar = 16;
const gap = 5;
const left = 210;
const width = 420;
const groupGap = 46;

/** Bars of CPU per call for each concurrency, with whiskers for the quartiles. */
export function drawing(
  results: Readonly<Record<string, readonly Row[]>>,
  about: Readonly<Record<string, unknown>>,
): string {
  const groups = Object.entries(results);
  const rows = groups[0]?.[1].length ?? 0;
  const groupHeight = rows * (bar + gap) + groupGap;
  const height = groups.length * groupHeight + 40;
  const parts: string[] = [];
  groups.forEach(([concurrency, group], g) => {
    const top = g * groupHeight + 34;
    const most = Math.max(...group.map((row) => row.cpu.high));
    const scale = (value: number): number => (value / most) * width;
    parts.push(`<text x="${left}" y="${top - 8}" class="head">${concurrency} calls at a time</text>`);
    group.forEach((row, i) => {
      const y = top + i * (bar + gap);
      const own = row.name.startsWith('steersman');
      const middle = y + bar / 2;
      parts.push(
        `<text x="${left - 8}" y="${y + bar - 4}" text-anchor="end"${own ? ' class="own"' : ''}>${row.name}</text>`,
        `<rect x="${left}" y="${y}" width="${scale(row.cpu.median).toFixed(1)}" height="${bar}" fill="${own ? '#1f77b4' : '#c0c6cc'}"/>`,
        `<path d="M${(left + scale(row.cpu.low)).toFixed(1)} ${middle}H${(left + scale(row.cpu.high)).toFixed(1)}" stroke="#444"/>`,
        `<text x="${(left + scale(row.cpu.high) + 6).toFixed(1)}" y="${y + bar - 4}">${row.cpu.median.toFixed(0)} µs</text>`,
      );
    });
  });
  const note = `CPU per call of the calling process, medians and quartiles of ${about['processes']} processes × ${about['rounds']} rounds; ten ${about['servers']} endpoints, Node ${about['node']}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${left + width + 80}" height="${height}" font-family="system-ui, sans-serif" font-size="12">
<style>.head { font-weight: 600; font-size: 13px } .own { font-weight: 600 }</style>
<rect width="100%" height="100%" fill="#fff"/>
${parts.join('\n')}
<text x="8" y="${height - 10}" fill="#555">${note}</text>
</svg>
`;
}
