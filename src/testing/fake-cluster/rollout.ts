import { integer, number, type Shape } from '../../core/options.ts';
import { type FakePod, type Termination, terminationShape } from './pod.ts';

export interface Rollout extends Termination {
  /** Pods above the wanted number while the restart goes on: 1 by default. */
  readonly surge?: number;
  /** Pods below the wanted number: 0 by default. One of `surge` and `unavailable` must be more than 0. */
  readonly unavailable?: number;
  /** ms from a change of a pod to the change of its slice, during the restart; as the cluster has it by default. */
  readonly propagation?: number;
}

export const rolloutShape: Shape = {
  ...terminationShape,
  surge: integer(0),
  unavailable: integer(0),
  propagation: number(0),
};

/** https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment */
export async function rollOut(
  old: readonly FakePod[],
  { surge = 1, unavailable = 0, preStop = 0, grace, onStop }: Rollout,
  start: (count: number) => Promise<void>,
): Promise<void> {
  if (surge + unavailable === 0)
    throw new RangeError('rollingRestart: surge and unavailable cannot both be 0');
  const termination = { preStop, ...(grace === undefined ? {} : { grace }), ...(onStop && { onStop }) };
  const ends: Promise<void>[] = [];
  const terminate = (pods: readonly FakePod[]): void => {
    for (const pod of pods) ends.push(pod.terminate(termination));
  };
  let started = 0;
  let stopped = 0;
  // A Deployment counts a pod that terminates as gone, so ends overlap with the starts that follow.
  while (stopped < old.length) {
    const down = Math.min(unavailable - (stopped - started), old.length - stopped);
    if (down > 0) {
      terminate(old.slice(stopped, stopped + down));
      stopped += down;
    }
    const up = Math.min(surge + (stopped - started), old.length - started);
    if (up > 0) {
      await start(up);
      started += up;
    }
    const replaced = Math.min(started, old.length) - stopped;
    if (replaced > 0) {
      terminate(old.slice(stopped, stopped + replaced));
      stopped += replaced;
    }
  }
  if (started < old.length) await start(old.length - started);
  await Promise.all(ends);
}
