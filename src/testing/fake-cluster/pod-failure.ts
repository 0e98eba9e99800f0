import { boolean, checkOptions, integer, number } from '../../core/options.ts';

/** How a pod fails the requests it gets; one of `status`, `reset`, `hang` and `refuse`. */
export interface PodFailure {
  /** Answers with this status, after the pod's latency. */
  readonly status?: number;
  /** Resets the connection when the request has come. */
  readonly reset?: boolean;
  /** Takes the request and never answers. */
  readonly hang?: boolean;
  /** Stops listening and cuts the open connections, as when the process has crashed but the pod is still there. */
  readonly refuse?: boolean;
  /** Share of the requests that fail, 1 unless told; not for `refuse`. */
  readonly rate?: number;
}

/** Refuses what makes no sense as a failure. */
export function checkFailure(failure: PodFailure): void {
  const shape = {
    status: integer(200, 599),
    reset: boolean,
    hang: boolean,
    refuse: boolean,
    rate: number(0, 1),
  };
  checkOptions('failure', shape, failure);
  const { status, reset, hang, refuse } = failure;
  const kinds = [status !== undefined, reset, hang, refuse].filter(Boolean);
  if (kinds.length !== 1) throw new TypeError('failure: give one of status, reset, hang and refuse');
  if (refuse && failure.rate !== undefined)
    throw new TypeError('failure: a pod that refuses has no rate: it does not listen');
}
