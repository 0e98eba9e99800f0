import { types } from 'node:util';
import { isFailure, type Outcome, type Release } from '../core/outcome.ts';
import type { TrialResult } from '../health/circuit.ts';
import type { LiveBackend } from './backend.ts';

/** Who hears of the uses of a backend. */
export interface Judge {
  /** Tells the balancer that a use begins; what it returns hears of the end. */
  begin(backend: LiveBackend): Release | undefined;
  /** A use that began in `epoch` of the backend's circuit has ended, and says something about its health. */
  report(backend: LiveBackend, failed: boolean, epoch: number): void;
  /** The balancer threw. */
  balancerFailed(error: unknown): void;
}

/** One use of a backend: counted while it lasts, and judged by how it ends. */
export class Lease {
  #backend: LiveBackend | undefined;
  #judge: Judge | undefined;
  #end: Release | undefined;
  #epoch = 0;
  #trial: ((result: TrialResult) => void) | undefined;
  #released = false;

  /** The use begins: to be called once, before anything else. */
  begin(backend: LiveBackend, judge: Judge): void {
    this.#backend = backend;
    this.#judge = judge;
    const { circuit } = backend;
    if (circuit !== undefined) {
      this.#epoch = circuit.epoch;
      this.#trial = circuit.trial();
    }
    backend.begin();
    this.#end = judge.begin(backend);
  }

  get backend(): LiveBackend {
    return this.#backend as LiveBackend;
  }

  get released(): boolean {
    return this.#released;
  }

  /** The response headers are here: a trial is decided now, however long the body lasts. */
  decide(status: number): void {
    this.#trial?.(isFailure({ kind: 'response', status, latency: 0 }) ? 'failure' : 'success');
  }

  /** Only the first call counts. `blameless`: the balancer learns of it, and the circuit does not. */
  release(outcome: Outcome, blameless = false): void {
    if (this.#released) return;
    this.#released = true;
    const { backend } = this;
    const judge = this.#judge as Judge;
    backend.end(outcome);
    if (this.#end !== undefined) {
      try {
        const late: unknown = this.#end(outcome);
        if (late !== undefined && types.isPromise(late)) this.#watchOver(late);
      } catch (error) {
        judge.balancerFailed(error);
      }
    }
    if (outcome.kind === 'cancelled' || blameless) {
      this.#trial?.('neutral');
      return;
    }
    const failed = isFailure(outcome);
    if (failed) backend.failures++;
    if (this.#trial !== undefined) this.#trial(failed ? 'failure' : 'success');
    else if (failed || backend.circuit !== undefined) judge.report(backend, failed, this.#epoch);
  }

  #watchOver(late: Promise<unknown>): void {
    late.catch((error) => this.#judge?.balancerFailed(error));
  }
}
