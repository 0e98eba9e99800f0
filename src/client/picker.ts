import type { Backends } from '../core/backend.ts';
import type { Balancer, PickRequest } from '../core/balancer.ts';
import type { Random } from '../core/clock.ts';
import { disown } from '../core/disown.ts';
import { NoEndpointsError, OverloadError } from '../core/errors.ts';
import type { Release } from '../core/outcome.ts';
import { type Target, targetName } from '../core/target.ts';
import { slowStartShare } from '../health/slow-start.ts';
import { LiveBackend } from './backend.ts';
import type { Fleet } from './fleet.ts';
import type { Settings } from './settings.ts';

export interface PickerContext {
  readonly target: Target;
  readonly random: Random;
  balancer(): Balancer;
  settings(): Settings;
  /** The balancer threw, or picked what is not there. */
  balancerFailed(error: unknown): void;
}

/** Asks the balancer, and minds what no balancer has to know: slow start, full queues, and balancers that are wrong. */
export class Picker {
  readonly #fleet: Fleet;
  readonly #context: PickerContext;
  /** The eligible that are past their slow start, and the eligible they were taken from. */
  #grown: readonly LiveBackend[] = [];
  #grownOf: readonly LiveBackend[] = [];

  constructor(fleet: Fleet, context: PickerContext) {
    this.#fleet = fleet;
    this.#context = context;
  }

  /**
   * One of the eligible backends, of which there must be one; or why there is none. Never throws. `stranded`: those that
   * are not eligible will do.
   */
  pick(request: PickRequest, stranded: boolean): LiveBackend | Error {
    let picked = this.#pickFrom(stranded ? this.#fleet.known : this.#fleet.eligible, request);
    if (this.#context.settings().slowStart !== 0 && picked instanceof LiveBackend) {
      picked = this.#slowStart(picked, request);
    }
    return picked instanceof LiveBackend && this.#full(picked) ? this.#pickFree(request) : picked;
  }

  /** Whether there is an eligible backend that is none of these; `stranded`: or any other. */
  leaves(tried: ReadonlySet<unknown>, stranded: boolean): boolean {
    const among = stranded ? this.#fleet.known : this.#fleet.eligible;
    return among.length > tried.size || among.some((backend) => !tried.has(backend));
  }

  begin(backend: LiveBackend): Release | undefined {
    const balancer = this.#context.balancer();
    if (balancer.begin === undefined) return undefined;
    try {
      return balancer.begin(backend);
    } catch (error) {
      this.#context.balancerFailed(error);
      return undefined;
    }
  }

  #pickFrom(eligible: readonly LiveBackend[], request: PickRequest): LiveBackend | Error {
    let picked: unknown;
    try {
      picked = this.#context.balancer().pick(eligible as unknown as Backends, request);
    } catch (cause) {
      return this.#wrong(`the balancer threw ${String(cause)}`, cause);
    }
    if (picked instanceof LiveBackend && this.#fleet.has(picked)) return picked;
    disown(picked);
    const why = 'the balancer picked a backend outside the set';
    return this.#wrong(why, new TypeError(why));
  }

  #wrong(why: string, cause: unknown): NoEndpointsError {
    const { target } = this.#context;
    this.#context.balancerFailed(cause);
    return new NoEndpointsError(`no endpoint picked for ${targetName(target)}: ${why}`, target, { cause });
  }

  /** Whether as many calls wait for a connection of this backend as may. */
  #full(backend: LiveBackend): boolean {
    return backend.inflight >= this.#context.settings().endpointLimit;
  }

  /** The balancer's choice is full: another that is not, or the error that says that all are. */
  #pickFree(request: PickRequest): LiveBackend | Error {
    const { eligible } = this.#fleet;
    const full = eligible.filter((backend) => this.#full(backend));
    if (full.length === eligible.length) {
      const { target } = this.#context;
      return new OverloadError(
        `${this.#context.settings().endpointLimit} calls use or wait for the connections of each endpoint of ${targetName(target)}: ` +
          'slow down, or raise pool.connections or queue.endpoint',
        target,
      );
    }
    const { hashKey } = request;
    const tried = new Set([...(request.tried ?? []), ...full]);
    const picked = this.#pickFrom(eligible, hashKey === undefined ? { tried } : { hashKey, tried });
    if (picked instanceof LiveBackend && this.#full(picked)) {
      return eligible.find((backend) => !this.#full(backend)) ?? picked;
    }
    return picked;
  }

  /** A new backend gives most of its picks back to the others at first, and fewer as it ages. */
  #slowStart(picked: LiveBackend, request: PickRequest): LiveBackend | Error {
    const window = this.#context.settings().slowStart;
    const share = slowStartShare(picked.age, window);
    if (share >= 1 || this.#context.random() < share) return picked;
    const { eligible } = this.#fleet;
    const { tried } = request;
    const grown = eligible.filter((backend) => backend.age >= window);
    // They only get more until the set changes: as many are the same, and balancers cache by the array.
    if (eligible !== this.#grownOf || grown.length !== this.#grown.length) {
      this.#grownOf = eligible;
      this.#grown = Object.freeze(grown);
    }
    // Where they have all failed this very call, a new one is better than none.
    if (tried === undefined ? grown.length === 0 : grown.every((backend) => tried.has(backend)))
      return picked;
    return this.#pickFrom(this.#grown, request);
  }
}
