import { describe, expect, it } from 'vitest';
import { chaos } from '../support/nemesis.ts';

/** Another run: `npm run chaos -- --seed 5 --seconds 600`. */
const seed = 20_260;

describe('random trouble', () => {
  it('fails no GET, runs no POST twice, and leaves nothing behind', { timeout: 60_000 }, async () => {
    const report = await chaos({ seed, seconds: 6, pods: 5, callers: 20 });
    console.log(
      `seed ${report.seed}: ${report.calls} calls, ${report.faults} faults, ` +
        `${report.failed.GET} GETs and ${report.failed.POST} POSTs failed, ${report.twice.length} ran twice`,
    );
    expect(report.violations).toEqual([]);
    expect({ failed: report.failed.GET, examples: report.failed.GET > 0 ? report.examples : [] }).toEqual({
      failed: 0,
      examples: [],
    });
    expect(report.calls).toBeGreaterThan(1_000);
    expect(report.faults).toBeGreaterThan(5);
  });
});
