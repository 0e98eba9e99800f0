import { isDeepStrictEqual } from 'node:util';
import { badRequest } from './status.ts';

type Fields = Record<string, unknown>;

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** JSON Merge Patch, RFC 7396. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return patch;
  const result: Fields = isFields(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}

/** JSON Patch, RFC 6902, without `move` and `copy`. */
export function jsonPatch(target: unknown, operations: unknown): unknown {
  if (!Array.isArray(operations))
    throw badRequest('error decoding patch: a JSON patch is an array of operations');
  const result = structuredClone(target);
  for (const operation of operations as readonly Fields[]) apply(result, operation);
  return result;
}

function apply(root: unknown, { op, path, value }: Fields): void {
  const keys = String(path)
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  const last = keys.pop();
  let parent: unknown = root;
  for (const key of keys)
    parent = isFields(parent) || Array.isArray(parent) ? (parent as Fields)[key] : undefined;
  if (last === undefined || last === '__proto__' || !(isFields(parent) || Array.isArray(parent)))
    throw badRequest(
      `the server rejected our request due to an error in our request: no path ${String(path)}`,
    );
  if (op === 'test') {
    if (!isDeepStrictEqual((parent as Fields)[last], value))
      throw badRequest(`testing path ${String(path)} failed`);
  } else if (Array.isArray(parent)) {
    const index = last === '-' ? parent.length : Number(last);
    if (op === 'add') parent.splice(index, 0, value);
    else if (op === 'replace') parent[index] = value;
    else if (op === 'remove') parent.splice(index, 1);
    else throw badRequest(`unexpected patch operation ${JSON.stringify(op)}`);
  } else if (op === 'add' || op === 'replace') parent[last] = value;
  else if (op === 'remove') delete parent[last];
  else throw badRequest(`unexpected patch operation ${JSON.stringify(op)}`);
}
