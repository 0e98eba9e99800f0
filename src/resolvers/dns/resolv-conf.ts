import { readFileSync } from 'node:fs';
import { hostProblem } from '../../core/target.ts';
import { checkNameserver } from './nameservers.ts';
import type { SearchRules } from './search.ts';

/** Whom to ask, and for which names. No servers: whatever c-ares finds by itself. */
export interface DnsConfig extends SearchRules {
  readonly servers: readonly string[];
}

/** glibc's limit. */
const mostNdots = 15;

/** The text of a resolv.conf. What is not understood is left out, as all resolvers do. */
export function parseResolvConf(text: string): DnsConfig {
  const servers: string[] = [];
  let search: string[] = [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [keyword, ...words] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && words[0] !== undefined) {
      try {
        servers.push(checkNameserver(words[0], 'nameserver'));
      } catch {
        // c-ares and glibc skip it as well.
      }
    } else if (keyword === 'search' || keyword === 'domain') {
      search = words.map(bareDomain).filter((domain) => hostProblem(domain) === undefined);
    } else if (keyword === 'options') {
      for (const word of words) {
        const value = /^ndots:(\d{1,9})$/.exec(word)?.[1];
        if (value !== undefined) ndots = Math.min(mostNdots, Number(value));
      }
    }
  }
  return { servers, search, ndots };
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

  /** The current configuration; `now` in ms of a monotonic clock. */
  at(now: number): DnsConfig {
    if (this.#config === undefined || now - this.#read >= rereadAfter) {
      this.#config = { ...this.#load(), ...this.#given };
      this.#read = now;
    }
    const { servers } = this.#config;
    const preferred = this.#preferred;
    if (preferred === undefined || preferred === servers[0] || !servers.includes(preferred))
      return this.#config;
    return { ...this.#config, servers: [preferred, ...servers.filter((server) => server !== preferred)] };
  }

  /** Asks this server first from now on: it has answered. */
  prefer(server: string): void {
    this.#preferred = server;
  }

  /** Makes the next question read the file again: the nameserver may have moved. */
  doubt(): void {
    this.#config = undefined;
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
