import { Circuit, type CircuitContext } from './circuit.ts';

export interface ServiceCircuitSettings {
  /** Share of failed calls that opens it, 0 to 1. */
  readonly rate: number;
  /** Calls within `window` below which the share is not looked at. */
  readonly volume: number;
  /** ms */
  readonly window: number;
  /** ms until a trial call is let through */
  readonly reset: number;
}

/** How a call that was let through ended; `neutral` says nothing about the service. */
export type Verdict = 'success' | 'failure' | 'neutral';

/** The circuit around whole calls of a service, retries included: the one of an endpoint, without growing ejections. */
export class ServiceCircuit {
  readonly #circuit: Circuit;

  constructor(
    { rate, volume, window, reset }: ServiceCircuitSettings,
    context: Omit<CircuitContext, 'mayOpen'>,
  ) {
    this.#circuit = new Circuit(
      { consecutive: Number.POSITIVE_INFINITY, rate, volume, window, ejection: reset, maxEjection: reset },
      { ...context, mayOpen: () => true },
    );
  }

  get state(): Circuit['state'] {
    return this.#circuit.state;
  }

  /** ms until it is worth coming back. */
  get retryAfter(): number {
    return this.#circuit.retryAfter;
  }

  /** Lets a call through: the returned function says how it ended. undefined: the circuit is open. */
  admit(): ((verdict: Verdict) => void) | undefined {
    const circuit = this.#circuit;
    if (circuit.state !== 'closed') return circuit.trial();
    const { epoch } = circuit;
    return (verdict) => {
      if (verdict !== 'neutral' && circuit.epoch === epoch) circuit.report(verdict === 'failure');
    };
  }

  close(): void {
    this.#circuit.close();
  }
}
