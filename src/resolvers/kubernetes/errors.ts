/** What kind of trouble a watch is in; stable, for programs. */
export type WatchErrorCode =
  /** The kubeconfig, or the files of the service account, cannot be used. */
  | 'STEERSMAN_ERR_KUBECONFIG'
  /** The API server does not know who we are (401). */
  | 'STEERSMAN_ERR_UNAUTHORIZED'
  /** A rule is missing from our role (403). */
  | 'STEERSMAN_ERR_FORBIDDEN'
  /** No answer: refused, reset, timed out, or a certificate that does not fit. */
  | 'STEERSMAN_ERR_UNREACHABLE'
  /** An answer that cannot be used. */
  | 'STEERSMAN_ERR_API'
  /** The Service is only an alias of a DNS name. */
  | 'STEERSMAN_ERR_EXTERNAL_NAME'
  /** The asked port is none of the Service's. */
  | 'STEERSMAN_ERR_PORT'
  /** The host is not the name of a Service. */
  | 'STEERSMAN_ERR_NOT_A_SERVICE';

/** What a Kubernetes watch reports to `onError`. Never holds a token. */
export class WatchError extends Error {
  readonly code: WatchErrorCode;
  /** HTTP status, or that of an `ERROR` event. */
  readonly status: number | undefined;
  /** ms the server asked to wait. */
  readonly retryAfter: number | undefined;

  constructor(
    message: string,
    code: WatchErrorCode,
    options: { cause?: unknown; status?: number; retryAfter?: number | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'WatchError';
    this.code = code;
    this.status = options.status;
    this.retryAfter = options.retryAfter;
  }
}
