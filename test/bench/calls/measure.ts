import type { Subject } from './subjects.ts';

/** One subject in one round. */
export interface Sample {
  /** µs of CPU, user and system, of this process. */
  readonly cpu: number;
  /** Calls per second. */
  readonly rate: number;
  /** ms */
  readonly p99: number;
}

/** Keeps `concurrency` calls in flight until `calls` are made. */
export async function sample(subject: Subject, calls: number, concurrency: number): Promise<Sample> {
  const latencies = new Float64Array(calls);
  let begun = 0;
  const worker = async (): Promise<void> => {
    while (begun < calls) {
      const index = begun++;
      const started = performance.now();
      await subject.call();
      latencies[index] = performance.now() - started;
    }
  };
  const cpu = process.cpuUsage();
  const started = performance.now();
  await Promise.all(Array.from({ length: concurrency }, worker));
  const elapsed = performance.now() - started;
  const { user, system } = process.cpuUsage(cpu);
  latencies.sort();
  return {
    cpu: (user + system) / calls,
    rate: (calls / elapsed) * 1_000,
    p99: latencies[Math.floor(calls * 0.99)] as number,
  };
}

/** A median and the quartiles around it. */
export interface Spread {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number;
  return { median: at(0.5), low: at(0.25), high: at(0.75) };
}
