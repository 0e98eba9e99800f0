import type { Access } from './rbac.ts';
import { apiVersion, qualifiedName, type Resource } from './resources.ts';

export interface StatusCause {
  readonly reason: string;
  readonly message: string;
  readonly field?: string;
}

/** A failed request, as the API reports it: `https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/`. */
export class ApiError extends Error {
  readonly code: number;
  /** The body: a `Status`, or plain text where the server writes no Status. */
  readonly body: Readonly<Record<string, unknown>> | string;
  /** Seconds, for the header. */
  readonly retryAfter: number | undefined;

  constructor(
    code: number,
    reason: string | undefined,
    message: string,
    more: { details?: Record<string, unknown>; metadata?: Record<string, unknown>; retryAfter?: number } = {},
  ) {
    super(message);
    this.code = code;
    this.retryAfter = more.retryAfter;
    this.body = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: more.metadata ?? {},
      status: 'Failure',
      message,
      ...(reason === undefined ? {} : { reason }),
      ...(more.details === undefined ? {} : { details: more.details }),
      code,
    };
  }
}

const detailsOf = (
  { group, plural }: Pick<Resource, 'group' | 'plural'>,
  name?: string,
): Record<string, unknown> => ({
  ...(name === undefined ? {} : { name }),
  ...(group === '' ? {} : { group }),
  kind: plural,
});

export const badRequest = (message: string): ApiError => new ApiError(400, 'BadRequest', message);

export const unauthorized = (): ApiError => new ApiError(401, 'Unauthorized', 'Unauthorized');

export function forbidden(user: string, access: Access & { readonly name: string | undefined }): ApiError {
  const { verb, group, plural, namespace, name } = access;
  const qualified = group === '' ? plural : `${plural}.${group}`;
  const object = name === undefined ? qualified : `${qualified} "${name}"`;
  const where = namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  return new ApiError(
    403,
    'Forbidden',
    `${object} is forbidden: User "${user}" cannot ${verb} resource "${plural}" in API group "${group}" ${where}`,
    { details: detailsOf(access, name) },
  );
}

export const noSuchPath = (): ApiError =>
  new ApiError(404, 'NotFound', 'the server could not find the requested resource', { details: {} });

export const notFound = (resource: Resource, name: string): ApiError =>
  new ApiError(404, 'NotFound', `${qualifiedName(resource)} "${name}" not found`, {
    details: detailsOf(resource, name),
  });

export const methodNotAllowed = (): ApiError =>
  new ApiError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {
    details: {},
  });

export const notAcceptable = (): ApiError =>
  new ApiError(
    406,
    'NotAcceptable',
    '406: Not Acceptable\n\nAvailable representations: application/json, application/json;stream=watch',
    { details: {} },
  );

export const alreadyExists = (resource: Resource, name: string): ApiError =>
  new ApiError(409, 'AlreadyExists', `${qualifiedName(resource)} "${name}" already exists`, {
    details: detailsOf(resource, name),
  });

export const conflict = (resource: Resource, name: string): ApiError =>
  new ApiError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualifiedName(resource)} "${name}": the object has been modified; please apply your changes to the latest version and try again`,
    { details: detailsOf(resource, name) },
  );

/** Of an exact list. */
export const tooOldToList = (): ApiError =>
  new ApiError(410, 'Expired', 'The resourceVersion for the provided list is too old.');

/** Of a continue token, with one to go on without consistency. */
export const tooOldToContinue = (token: string): ApiError =>
  new ApiError(
    410,
    'Expired',
    'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.',
    { metadata: { continue: token } },
  );

/** Of a watch. */
export const tooOldToWatch = (revision: number, oldest: number): ApiError =>
  new ApiError(410, 'Expired', `too old resource version: ${revision} (${oldest})`);

export const unsupportedMediaType = (...accepted: readonly string[]): ApiError =>
  new ApiError(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  );

export function invalid(group: string, kind: string, name: string, causes: readonly StatusCause[]): ApiError {
  const list = causes.map((cause) => (cause.field ? `${cause.field}: ${cause.message}` : cause.message));
  const message = list.length === 1 ? list[0] : `[${list.join(', ')}]`;
  return new ApiError(
    422,
    'Invalid',
    `${group === '' ? kind : `${kind}.${group}`} "${name}" is invalid: ${message}`,
    {
      details: {
        ...(name === '' ? {} : { name }),
        ...(group === '' ? {} : { group }),
        kind,
        causes,
      },
    },
  );
}

/** The server has not come as far as the caller says the world is. */
export const tooLargeRevision = (revision: number, current: number): ApiError =>
  new ApiError(504, 'Timeout', `Timeout: Too large resource version: ${revision}, current: ${current}`, {
    details: {
      causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
      retryAfterSeconds: 1,
    },
    retryAfter: 1,
  });

const reasons: Readonly<Record<number, string>> = {
  409: 'Conflict',
  410: 'Expired',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

/** What a server in trouble answers; a 429 has no Status but plain text. */
export function trouble(code: number, retryAfter: number | undefined): ApiError | PlainError {
  const seconds = retryAfter === undefined ? {} : { retryAfter };
  if (code === 429) return new PlainError(429, 'Too many requests, please try again later.', retryAfter ?? 1);
  if (code === 401) return unauthorized();
  return new ApiError(code, reasons[code], `the server answers ${code} because the test told it to`, seconds);
}

/** An answer whose body is no Status. */
export class PlainError extends Error {
  readonly code: number;
  readonly retryAfter: number | undefined;

  constructor(code: number, message: string, retryAfter: number | undefined) {
    super(message);
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** Answer to a deletion. */
export function deleted(resource: Resource, name: string, uid: string | undefined): Record<string, unknown> {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { ...detailsOf(resource, name), ...(uid === undefined ? {} : { uid }) },
  };
}

/** `{"kind":"Service","apiVersion":"v1"}` first, as the server writes it. */
export function typed(
  resource: Resource,
  object: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return { kind: resource.kind, apiVersion: apiVersion(resource), ...object };
}
