import { hostProblem } from '../../core/target.ts';

/** How relative names are made absolute. */
export interface SearchRules {
  readonly search: readonly string[];
  readonly ndots: number;
}

/**
 * The absolute names to ask for, in order, each with its trailing dot: as glibc does it, a name with at least
 * `ndots` dots is tried as it is first, any other in the search domains first; a trailing dot means absolute only.
 * A name that ends in one of the search domains already (`orders.shop.svc.cluster.local`) is tried as it is first
 * too, which saves a pod the six questions that `ndots:5` makes of it.
 * https://man7.org/linux/man-pages/man5/resolv.conf.5.html
 */
export function searchNames(host: string, { search, ndots }: SearchRules): readonly string[] {
  if (host.endsWith('.')) return [host];
  const absolute = `${host}.`;
  const expanded = search
    .map((domain) => `${host}.${domain}.`)
    .filter((name) => hostProblem(name) === undefined);
  const dots = host.split('.').length - 1;
  const asIsFirst =
    dots >= ndots || search.some((domain) => domain.includes('.') && host.endsWith(`.${domain}`));
  return [...new Set(asIsFirst ? [absolute, ...expanded] : [...expanded, absolute])];
}
