const none: readonly never[] = [];

/** Things by key, where most keys have one thing: without an array for each. */
export class Groups<T extends object> {
  readonly #groups = new Map<string, T | T[]>();

  /** Whether the entry is alone with its key. */
  add(key: string, entry: T): boolean {
    const group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, entry);
    else if (Array.isArray(group)) group.push(entry);
    else this.#groups.set(key, [group, entry]);
    return group === undefined;
  }

  delete(key: string, entry: T): void {
    const group = this.#groups.get(key);
    if (!Array.isArray(group)) {
      this.#groups.delete(key);
      return;
    }
    const rest = group.filter((other) => other !== entry);
    this.#groups.set(key, rest.length === 1 ? (rest[0] as T) : rest);
  }

  others(key: string, entry: T): readonly T[] {
    const group = this.#groups.get(key);
    return Array.isArray(group) ? group.filter((other) => other !== entry) : none;
  }
}
