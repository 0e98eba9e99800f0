import type { DiscoveryWarning } from '../../core/errors.ts';
import { Addresses } from './addresses.ts';
import type { Finding } from './last-good.ts';
import type { DnsSettings } from './options.ts';

/** Targets that are looked up at the same time. */
const parallel = 8;

/** ms until a target that has no address, or cannot be looked up, is asked for again. */
const retryAfter = 5_000;

interface Lookup {
  readonly addresses: Addresses;
  items: readonly string[];
  /** Why it could not be looked up the last time. */
  error: Error | undefined;
  /** ms of the clock when it was last looked up. */
  asked: number;
  /** ms of the clock when `items` was last confirmed. */
  confirmed: number;
  /** ms of the clock until which `items` hold. */
  expires: number;
}

export interface TargetAddresses {
  readonly addressesOf: ReadonlyMap<string, readonly string[]>;
  /** ms until the first of them expires. */
  readonly ttl: number;
  /** Whether any of the addresses is more than what a target last had. */
  readonly current: boolean;
  /** Why some could not be looked up; what they last had is kept for `maxStale`. */
  readonly errors: readonly Error[];
}

/** Addresses of the targets that SRV records name, each kept for its TTL. */
export class Targets {
  readonly #settings: DnsSettings;
  readonly #warn: (warning: DiscoveryWarning) => void;
  #lookups = new Map<string, Lookup>();

  constructor(settings: DnsSettings, warn: (warning: DiscoveryWarning) => void) {
    this.#settings = settings;
    this.#warn = warn;
  }

  /** Has the targets that were asked longest ago looked up in the next round: as many as are asked at a time. */
  refresh(): void {
    const oldest = [...this.#lookups.values()].sort((a, b) => a.asked - b.asked).slice(0, parallel);
    for (const lookup of oldest) lookup.expires = Number.NEGATIVE_INFINITY;
  }

  /** The addresses of these targets, and from now on of no others. */
  async find(names: readonly string[], signal: AbortSignal): Promise<TargetAddresses> {
    const { clock } = this.#settings;
    this.#lookups = new Map(names.map((name) => [name, this.#lookups.get(name) ?? this.#lookup(name)]));
    const all = [...this.#lookups.values()];
    const due = all.filter(({ expires }) => expires <= clock.now());
    const worker = async (): Promise<void> => {
      for (let lookup = due.pop(); lookup !== undefined; lookup = due.pop())
        this.#learn(lookup, await lookup.addresses.findBefore(signal));
    };
    await Promise.all(Array.from({ length: parallel }, worker));
    return {
      addressesOf: new Map([...this.#lookups].map(([name, { items }]) => [name, items])),
      ttl:
        all.reduce((least, { expires }) => Math.min(least, expires), Number.POSITIVE_INFINITY) - clock.now(),
      current: all.some(({ error, items }) => error === undefined && items.length > 0),
      errors: all.flatMap(({ error }) => error ?? []),
    };
  }

  #learn(lookup: Lookup, finding: Finding<string>): void {
    const { clock, minTtl, maxTtl, maxStale } = this.#settings;
    const now = clock.now();
    const ttl = finding.kind === 'found' ? Math.max(finding.ttl, minTtl) : retryAfter;
    lookup.asked = now;
    lookup.expires = now + Math.min(ttl, maxTtl);
    lookup.error = finding.kind === 'failed' ? finding.error : undefined;
    if (finding.kind !== 'failed') {
      lookup.items = finding.kind === 'found' ? finding.items : [];
      lookup.confirmed = now;
    } else if (now - lookup.confirmed >= maxStale) {
      lookup.items = [];
    }
  }

  #lookup(name: string): Lookup {
    return {
      addresses: new Addresses(`${name}.`, this.#settings, this.#warn),
      items: [],
      error: undefined,
      asked: Number.NEGATIVE_INFINITY,
      confirmed: Number.NEGATIVE_INFINITY,
      expires: Number.NEGATIVE_INFINITY,
    };
  }
}
