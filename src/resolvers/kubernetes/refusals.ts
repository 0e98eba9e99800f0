import { WatchError } from './errors.ts';

/** ms a server may ask to wait. */
const retryAfterLimit = 30_000;

/** What a Status object says; the text itself where the body is none. */
function statusMessage(text: string): { message: string; reason?: unknown } {
  try {
    const status = JSON.parse(text) as { message?: unknown; reason?: unknown };
    if (typeof status.message === 'string')
      return { message: status.message.slice(0, 500), reason: status.reason };
  } catch {
    // Proxies and rate limits answer in plain text or HTML.
  }
  return {
    message: text
      .replace(/<[^>]*>/g, ' ')
      .replace(/\s+/g, ' ')
      .trim()
      .slice(0, 200),
  };
}

/** An answer with an error status, in words; the body is a Status object or any text. */
export function refusal(
  server: string,
  status: number,
  text: string,
  headers: Record<string, string | string[] | undefined>,
  certificateEnd: Date | undefined,
): WatchError {
  const { message } = statusMessage(text);
  const retryAfter = retryAfterOf(headers['retry-after']);
  if (status === 401) {
    const expired = certificateEnd !== undefined && certificateEnd < new Date();
    return new WatchError(
      `the API server ${server} does not accept our credentials (401): ${
        expired
          ? `the client certificate expired at ${certificateEnd.toISOString()}`
          : 'the token or client certificate is wrong or has expired'
      }`,
      'STEERSMAN_ERR_UNAUTHORIZED',
      { status, retryAfter },
    );
  }
  if (status === 403) {
    return new WatchError(
      `${message || `the API server ${server} forbids it`} (403)`,
      'STEERSMAN_ERR_FORBIDDEN',
      {
        status,
        retryAfter,
      },
    );
  }
  return new WatchError(
    `the API server ${server} answered ${status}${message === '' ? '' : `: ${message}`}`,
    'STEERSMAN_ERR_API',
    { status, retryAfter },
  );
}

/** ms; only the form in seconds is sent by API servers. */
function retryAfterOf(value: string | string[] | undefined): number | undefined {
  if (typeof value !== 'string' || !/^\d{1,6}$/.test(value.trim())) return undefined;
  return Math.min(Number(value) * 1000, retryAfterLimit);
}

/** No answer, in words. */
export function unreachable(server: string, error: Error): WatchError {
  const { code } = error as NodeJS.ErrnoException;
  // What undici could not parse: a server that says back what it was sent says our token.
  Reflect.deleteProperty(error, 'data');
  const hint =
    code === 'CERT_HAS_EXPIRED'
      ? ': its certificate has expired'
      : code === 'ERR_TLS_CERT_ALTNAME_INVALID'
        ? ': its certificate is for another name'
        : /SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/.test(code ?? '')
          ? ': its certificate is not signed by the configured CA'
          : /ALERT_CERTIFICATE_EXPIRED/.test(code ?? '')
            ? ': our client certificate has expired'
            : '';
  return new WatchError(
    `no answer from the API server ${server}${hint} (${code === undefined ? error.message : `${code}: ${error.message}`})`,
    'STEERSMAN_ERR_UNREACHABLE',
    { cause: error },
  );
}
