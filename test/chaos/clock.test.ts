import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import type { ClockReport } from '../support/clock-jumps.ts';
import { FakeTime } from '../support/fake-time.ts';

const run = promisify(execFile);

it('a wall clock that jumps by an hour, and by ten years, forth and back, changes nothing', {
  timeout: 60_000,
}, async ({ skip }) => {
  const made = await FakeTime.make();
  if (typeof made === 'string') return skip(made);
  using time = made;
  const program = fileURLToPath(new URL('../support/clock-jumps.ts', import.meta.url));
  const { stdout } = await run(process.execPath, ['--no-warnings', program], {
    env: time.env,
    timeout: 50_000,
  });
  const report = JSON.parse(stdout) as ClockReport;
  console.log(
    `clock jumps: ${report.calls} calls in ${report.seconds.toFixed(1)} s, ${report.asked} DNS questions, ` +
      `${report.apiRequests} API requests, attempt timeouts of 300 ms after ` +
      report.timedOut.map((ms) => Math.round(ms)).join(', '),
  );
  const jumps = [3_600, -3_600, 315_360_000, -315_360_000, 0];
  // The jumps did happen.
  expect(report.offsets.map((offset, i) => Math.abs(offset - (jumps[i] as number)) <= 1)).toEqual(
    jumps.map(() => true),
  );
  expect(report).toMatchObject({
    failed: { GET: 0, POST: 0 },
    twice: [],
    missing: [],
    ejected: 0,
    stale: false,
    dnsErrors: 0,
    caughtUp: true,
  });
  expect(report.calls).toBeGreaterThan(2_000);
  // At the TTL of a second, give or take a tenth, however the clock jumps.
  expect(report.asked).toBeGreaterThanOrEqual(1);
  expect(report.asked).toBeLessThanOrEqual(report.seconds * 1.2 + 1);
  // The watch goes on.
  expect(report.apiRequests).toBe(0);
  // At their age of 100 ms, give or take a tenth, and not one per call.
  for (const { connections, ms } of report.renewed) {
    expect(connections).toBeGreaterThanOrEqual(2);
    expect(connections).toBeLessThanOrEqual(ms / 90 + 1);
  }
  for (const ms of report.timedOut) {
    expect(ms).toBeGreaterThanOrEqual(299);
    expect(ms).toBeLessThan(2_000);
  }
});
