import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Clock } from '../../core/clock.ts';
import { hostProblem } from '../../core/target.ts';
import { checkNameserver } from './nameservers.ts';
import type { SearchRules } from './search.ts';

/** Whom to ask, and for which names. No servers: whatever c-ares finds by itself. */
export interface DnsConfig extends SearchRules {
  readonly servers: readonly string[];
}

/** glibc's limit. */
const mostNdots = 15;

/**
 * The text of a resolv.conf. What is not understood is left out, as all resolvers do; where it names no domain to
 * search, that of this host's own name is searched, as in glibc.
 */
export function parseResolvConf(text: string, host: string = hostname()): DnsConfig {
  const servers: string[] = [];
  let domains = /\.(.+)/.exec(host)?.slice(1) ?? [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [keyword, ...words] = line.trim().split(/\s+/);
    if (keyword === 'nameserver' && words[0] !== undefined) {
      try {
        servers.push(checkNameserver(words[0], 'nameserver'));
      } catch {
        // c-ares and glibc skip it as well.
      }
    } else if ((keyword === 'search' || keyword === 'domain') && words.length > 0) {
      // As in libc: the last line counts, and of a domain line the first word.
      domains = keyword === 'domain' ? words.slice(0, 1) : words;
    } else if (keyword === 'options') {
      for (const word of words) {
        const value = /^ndots:(\d{1,9})/.exec(word)?.[1];
        if (value !== undefined) ndots = Math.min(mostNdots, Number(value));
      }
    }
  }
  // A lone dot, which says that no domain is to be searched, is left out here.
  const search = domains.map(bareDomain).filter((domain) => hostProblem(domain) === undefined);
  return { servers: [...new Set(servers)], search, ndots };
}

export function bareDomain(domain: string): string {
  return domain.toLowerCase().replace(/\.$/, '');
}

/** ms after which the file is read again even when all goes well. */
const rereadAfter = 60_000;

/** What the options leave open comes from resolv.conf, read anew each minute and after each failure. */
export class DnsConfigSource {
  readonly #path: string;
  readonly #given: Partial<DnsConfig>;
  #config: DnsConfig | undefined;
  #read = 0;
  #preferred: string | undefined;

  constructor(path: string, given: Partial<DnsConfig>) {
    this.#path = path;
    this.#given = given;
  }

  /**
   * Does a round of questions with the current configuration. When it fails, the file is read again, since the
   * nameserver may have moved, and the round is done once more if it says something else now.
   */
  async use<T extends { readonly kind: string }>(
    clock: Clock,
    round: (config: DnsConfig) => Promise<T>,
  ): Promise<T> {
    if (this.#config === undefined || clock.now() - this.#read >= rereadAfter) this.#reread(clock.now());
    const used = JSON.stringify(this.#config);
    const finding = await round(this.#current());
    if (finding.kind !== 'failed') return finding;
    this.#reread(clock.now());
    return JSON.stringify(this.#config) === used ? finding : round(this.#current());
  }

  /** Asks this server first until the file is read again: it has answered. */
  prefer(server: string): void {
    this.#preferred = server;
  }

  /** The configuration, with the preferred server first. */
  #current(): DnsConfig {
    const config = this.#config as DnsConfig;
    const { servers } = config;
    const preferred = this.#preferred;
    if (preferred === undefined || !servers.includes(preferred)) return config;
    return { ...config, servers: [preferred, ...servers.filter((server) => server !== preferred)] };
  }

  #reread(now: number): void {
    this.#config = { ...this.#load(), ...this.#given };
    this.#preferred = undefined;
    this.#read = now;
  }

  #load(): DnsConfig {
    const { servers, search, ndots } = this.#given;
    if (servers && search && ndots !== undefined) return { servers, search, ndots };
    try {
      // Small and local, and read this way by c-ares itself: a thread pool full of lookups cannot delay it.
      return parseResolvConf(readFileSync(this.#path, 'utf8'));
    } catch {
      return { servers: [], search: [], ndots: 1 };
    }
  }
}
