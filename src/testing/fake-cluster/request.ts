import { type Resource, resources, type Verb } from './resources.ts';

/** A request for objects, as authorization sees it. */
export interface ApiRequest {
  readonly verb: Verb;
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly query: URLSearchParams;
  /** Undefined when the server has no such kind. */
  readonly resource: Resource | undefined;
  /** Whether the kind takes this method on this path at all. */
  readonly allowed: boolean;
}

const isTrue = (value: string | null): boolean => value !== null && value !== 'false' && value !== '0';

function verbOf(method: string, name: string | undefined, query: URLSearchParams): Verb | undefined {
  switch (method) {
    case 'GET':
      if (name !== undefined) return 'get';
      return isTrue(query.get('watch')) ? 'watch' : 'list';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return name === undefined ? 'deletecollection' : 'delete';
    default:
      return undefined;
  }
}

/** `/api/v1/namespaces/demo/services/web?…`; undefined for any path that names no objects. */
export function parseRequest(method: string, url: URL): ApiRequest | undefined {
  const [root, ...segments] = url.pathname.split('/').filter(Boolean).map(decodeURIComponent);
  const group = root === 'api' ? '' : root === 'apis' ? segments.shift() : undefined;
  const version = segments.shift();
  if (group === undefined || version === undefined || segments.length === 0) return undefined;
  const namespace = segments[0] === 'namespaces' && segments.length > 2 ? segments[1] : undefined;
  const [plural = '', name, subresource] = namespace === undefined ? segments : segments.slice(2);
  const query = url.searchParams;
  const verb = verbOf(method, name, query);
  if (verb === undefined) return undefined;
  const resource = resources.find(
    (known) => known.group === group && known.version === version && known.plural === plural,
  );
  return {
    verb,
    group,
    version,
    plural,
    namespace,
    name,
    query,
    resource: subresource === undefined ? resource : undefined,
    allowed: allowedOn(method, name),
  };
}

/** Lists are created in and emptied, objects replaced: not the other way round. */
function allowedOn(method: string, name: string | undefined): boolean {
  return name === undefined ? ['GET', 'POST', 'DELETE'].includes(method) : method !== 'POST';
}
