import type { KubeObject } from './objects.ts';
import type { ApiRequest } from './request.ts';
import { apiVersion, type Resource } from './resources.ts';
import { fieldSelector, labelSelector, type Selector } from './selectors.ts';
import { ApiError, badRequest, invalid, tooOldToContinue, tooOldToList } from './status.ts';
import type { Store } from './store.ts';

/** What of its kind a request is about: its namespace and selectors. */
export function selectorOf({ namespace, query }: ApiRequest): Selector {
  const tests: Selector[] = [];
  if (namespace !== undefined) tests.push((object) => object.metadata.namespace === namespace);
  const labels = query.get('labelSelector');
  if (labels) tests.push(labelSelector(labels));
  const fields = query.get('fieldSelector');
  if (fields) tests.push(fieldSelector(fields));
  return (object) => tests.every((test) => test(object));
}

/** undefined for "the latest". A watch reports a malformed one as a 500, a list as a 400. */
export function revisionOf(query: URLSearchParams): number | undefined {
  const text = query.get('resourceVersion') ?? '';
  if (text === '') return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  throw new BadRevision(text);
}

export class BadRevision extends Error {
  constructor(text: string) {
    super(
      `resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  }

  status(watching: boolean): ApiError {
    return watching
      ? new ApiError(500, undefined, this.message)
      : badRequest(`invalid resource version: ${this.message}`);
  }
}

interface Token {
  readonly v: string;
  /** -1: whatever is current. */
  readonly rv: number;
  readonly start: string;
}

const tokenVersion = 'meta.k8s.io/v1';

const encode = (rv: number, start: string): string =>
  Buffer.from(JSON.stringify({ v: tokenVersion, rv, start } satisfies Token)).toString('base64url');

function decode(text: string): Token {
  try {
    const token = JSON.parse(Buffer.from(text, 'base64url').toString()) as Token;
    if (token.v === tokenVersion && typeof token.rv === 'number' && typeof token.start === 'string')
      return token;
  } catch {
    // Said below.
  }
  throw badRequest(
    `invalid continue token: continue key is not valid: invalid character ${quoted(text)} looking for beginning of value`,
  );
}

/** The first character of what a token decodes to, as Go quotes it. */
function quoted(token: string): string {
  const code = Buffer.from(token, 'base64url')[0] ?? 0;
  const plain = code > 0x1f && code < 0x7f;
  return plain ? `'${String.fromCharCode(code)}'` : `'\\u${code.toString(16).padStart(4, '0')}'`;
}

const keyOf = ({ metadata }: KubeObject): string => `${metadata.namespace ?? ''}/${metadata.name}`;

/** Answers a list: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions */
export function listObjects(store: Store, request: ApiRequest, resource: Resource): Record<string, unknown> {
  const { query } = request;
  const exact = checkMatch(query, resource);
  // "Any version" is answered from the cache, which does not page.
  const limit = query.get('resourceVersion') === '0' ? 0 : Number(query.get('limit') ?? 0);
  const continued = query.get('continue');
  let at = store.revision;
  let after: string | undefined;
  if (continued) {
    const token = decode(continued);
    if (token.rv >= 0 && token.rv < store.oldest) throw tooOldToContinue(encode(-1, token.start));
    at = token.rv < 0 ? store.revision : token.rv;
    after = token.start;
  } else if (exact !== undefined) {
    if (exact < store.oldest) throw tooOldToList();
    at = exact;
  }
  const selector = selectorOf(request);
  let items = store.list(resource, at).filter(selector);
  if (after !== undefined) items = items.filter((item) => keyOf(item) >= after);
  const page = limit > 0 ? items.slice(0, limit) : items;
  const last = page.at(-1);
  const more = last !== undefined && page.length < items.length;
  return {
    kind: `${resource.kind}List`,
    apiVersion: apiVersion(resource),
    metadata: {
      resourceVersion: String(at),
      ...(more ? { continue: encode(at, `${keyOf(last)}\u0000`) } : {}),
      ...(more && !query.get('labelSelector') && !query.get('fieldSelector')
        ? { remainingItemCount: items.length - page.length }
        : {}),
    },
    items: page,
  };
}

/** The revision an exact list is asked for. */
function checkMatch(query: URLSearchParams, resource: Resource): number | undefined {
  const match = query.get('resourceVersionMatch') ?? '';
  const revision = revisionOf(query);
  if (match === '') return undefined;
  const wrong = (message: string): ApiError =>
    invalid('meta.k8s.io', 'ListOptions', '', [
      { reason: 'FieldValueForbidden', message: `Forbidden: ${message}`, field: 'resourceVersionMatch' },
    ]);
  if (revision === undefined)
    throw wrong('resourceVersionMatch is forbidden unless resourceVersion is provided');
  if (match !== 'Exact' && match !== 'NotOlderThan')
    throw invalid('meta.k8s.io', 'ListOptions', '', [
      {
        reason: 'FieldValueNotSupported',
        message: `Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan", ""`,
        field: 'resourceVersionMatch',
      },
    ]);
  if (match === 'Exact' && revision === 0)
    throw wrong(`resourceVersionMatch "Exact" is forbidden for resourceVersion "0" of ${resource.plural}`);
  return match === 'Exact' ? revision : undefined;
}
