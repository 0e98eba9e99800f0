/** What a set may hold; an answer over TCP has room for 4,090 A records. */
const most = 5_000;

/** The first of these sorted items, as many as a set may hold; `note` hears of the rest. */
export function limited<T>(
  items: readonly T[],
  whose: string,
  note: (message: string) => void,
): readonly T[] {
  if (items.length <= most) return items;
  note(`${whose} has ${items.length} addresses: only the first ${most} in order are used`);
  return items.slice(0, most);
}
