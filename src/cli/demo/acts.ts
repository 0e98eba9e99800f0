import type { FakeService } from '../../testing/fake-cluster/fake-service.ts';
import type { FakePod } from '../../testing/fake-cluster/pod.ts';

/** Something that happens to a service while it is called. */
export interface Act {
  readonly name: string;
  /** What is done, in words. */
  readonly story: string;
  /** Whether all pods are alike all the time, so that each should get its share. */
  readonly even: boolean;
  /** ms, at least. */
  readonly duration: number;
  /**
   * Begins it; the act is not over before this resolves. Returns what ends it. `busiest` is the pod that had most
   * calls in the act before.
   */
  begin(service: FakeService, busiest: FakePod): Promise<() => void>;
}

export const replicas = 3;
const scaledTo = 6;
const slowLatency = 400;

const nothing = (): void => {};

export const acts: readonly Act[] = [
  {
    name: 'steady',
    story: `${replicas} pods, all well`,
    even: true,
    duration: 4_500,
    begin: async () => nothing,
  },
  {
    name: 'scale up',
    story: `from ${replicas} pods to ${scaledTo}`,
    even: true,
    duration: 4_500,
    begin: async (service) => {
      await service.scale(scaledTo);
      return nothing;
    },
  },
  {
    name: 'one pod slow',
    story: `the busiest pod takes ${slowLatency} ms`,
    even: false,
    duration: 5_500,
    begin: async (_, pod) => {
      const { latency } = pod;
      pod.latency = slowLatency;
      return () => {
        pod.latency = latency;
      };
    },
  },
  {
    name: 'one pod failing',
    story: 'the busiest pod answers 503',
    even: false,
    duration: 5_500,
    begin: async (_, pod) => {
      pod.failure = { status: 503 };
      return () => {
        pod.failure = undefined;
      };
    },
  },
  {
    name: 'rolling restart',
    story: 'every pod is replaced, one by one',
    even: false,
    duration: 7_000,
    begin: async (service) => {
      // preStop is longer than it takes the slices to change and callers to hear of it.
      await service.rollingRestart({ preStop: 1_000, grace: 5_000 });
      return nothing;
    },
  },
];
