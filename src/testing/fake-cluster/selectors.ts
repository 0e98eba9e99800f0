import type { KubeObject } from './objects.ts';
import { badRequest } from './status.ts';

export type Selector = (object: KubeObject) => boolean;

const requirement = /^(!?)\s*([\w./-]+)\s*(?:(==|!=|=)\s*([\w.-]*)|(in|notin)\s*\(([^)]*)\))?$/;

/** `app=web,tier!=cache,zone in (a,b),!legacy`: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ */
export function labelSelector(text: string): Selector {
  const tests = splitOutsideParentheses(text).map((part): Selector => {
    const match = requirement.exec(part.trim());
    if (match === null) {
      const found = part.trim().split(/\s+/)[1] ?? part.trim();
      throw badRequest(
        `unable to parse requirement: found '${found}', expected: in, notin, =, ==, !=, gt, lt`,
      );
    }
    const [, not, key = '', sign, value, word, list] = match;
    if (sign === undefined && word === undefined) {
      const wanted = not !== '!';
      return (object) => Object.hasOwn(object.metadata.labels ?? {}, key) === wanted;
    }
    const values = new Set(
      word === undefined ? [value ?? ''] : (list ?? '').split(',').map((one) => one.trim()),
    );
    const wanted = sign !== '!=' && word !== 'notin';
    return (object) => {
      const label = object.metadata.labels?.[key];
      return (label !== undefined && values.has(label)) === wanted;
    };
  });
  return (object) => tests.every((test) => test(object));
}

/** `metadata.name=web`, `metadata.namespace!=demo`: the two fields every kind can be selected by. */
export function fieldSelector(text: string): Selector {
  const tests = text.split(',').map((part): Selector => {
    const match = /^([\w.]+)\s*(==|!=|=)([^=]*)$/.exec(part.trim());
    if (match === null) throw badRequest(`invalid selector: '${part}'; can't understand '${part}'`);
    const [, field, sign, value] = match;
    if (field !== 'metadata.name' && field !== 'metadata.namespace') {
      throw badRequest(`field label not supported: ${field}`);
    }
    const key = field === 'metadata.name' ? 'name' : 'namespace';
    return (object) => ((object.metadata[key] ?? '') === value?.trim()) === (sign !== '!=');
  });
  return (object) => tests.every((test) => test(object));
}

function splitOutsideParentheses(text: string): string[] {
  return text.split(/,(?![^(]*\))/);
}
