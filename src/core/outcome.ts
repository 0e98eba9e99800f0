/**
 * How one use of a backend ended. `latency` is in ms, from the start of the attempt to its final response
 * headers (or to the error). `cancelled` says nothing about the backend: the caller lost interest.
 */
export type Outcome =
  | { readonly kind: 'response'; readonly status: number; readonly latency: number }
  | { readonly kind: 'error'; readonly error: Error; readonly sent: boolean; readonly latency: number }
  | { readonly kind: 'cancelled' };

/** Ends one use of a backend. Called exactly once, when the body has ended. */
export type Release = (outcome: Outcome) => void;

/** Whether an outcome counts against its backend: an error, or a gateway's 502, 503 or 504. */
export function isFailure(outcome: Outcome): boolean {
  if (outcome.kind === 'error') return true;
  return (
    outcome.kind === 'response' &&
    (outcome.status === 502 || outcome.status === 503 || outcome.status === 504)
  );
}
