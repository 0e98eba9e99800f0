/** What callers may do, in the words of a Role: https://kubernetes.io/docs/reference/access-authn-authz/rbac/ */
export interface Rule {
  /** `''` is the core group, `'*'` all. */
  readonly apiGroups: readonly string[];
  /** Plural names, `'*'` for all. */
  readonly resources: readonly string[];
  /** `get`, `list`, `watch`, …; `'*'` for all. */
  readonly verbs: readonly string[];
  /** Where the rule holds, as a Role does in its namespace; everywhere when absent, as a ClusterRole's. */
  readonly namespaces?: readonly string[];
}

export const everything: readonly Rule[] = [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }];

/** What is asked for; without a namespace it is asked for in all of them. */
export interface Access {
  readonly verb: string;
  readonly group: string;
  readonly plural: string;
  readonly namespace: string | undefined;
}

const holds = (list: readonly string[], value: string): boolean => list.includes('*') || list.includes(value);

export function allows(rules: readonly Rule[], access: Access): boolean {
  return rules.some(
    (rule) =>
      holds(rule.apiGroups, access.group) &&
      holds(rule.resources, access.plural) &&
      holds(rule.verbs, access.verb) &&
      (rule.namespaces === undefined ||
        (access.namespace !== undefined && rule.namespaces.includes(access.namespace))),
  );
}
