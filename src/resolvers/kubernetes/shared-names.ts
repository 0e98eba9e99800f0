/** Names kept: more than a large cluster has nodes. */
const limit = 10_000;

const names = new Map<string, string>();

/** The same string each time: JSON brings a copy of a node's name with each of its pods. */
export function shared(name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  const first = names.get(name);
  if (first !== undefined) return first;
  // Nodes come and go.
  if (names.size >= limit) names.clear();
  names.set(name, name);
  return name;
}
