import type { DiscoveryWarning } from '../../core/errors.ts';
import { Addresses } from './addresses.ts';
import type { DnsSettings } from './options.ts';

/** Targets that are looked up at the same time. */
const parallel = 8;

/** ms until a target that has no address, or cannot be looked up, is asked for again. */
const retryAfter = 5_000;

interface Lookup {
  readonly addresses: Addresses;
  items: readonly string[];
  /** ms of the clock until which `items` hold. */
  expires: number;
}

export interface TargetAddresses {
  readonly addressesOf: ReadonlyMap<string, readonly string[]>;
  /** ms until the first of them expires. */
  readonly ttl: number;
  /** Why some could not be looked up now; what they last had is kept. */
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

  /** Has every target looked up in the next round. */
  expire(): void {
    for (const lookup of this.#lookups.values()) lookup.expires = Number.NEGATIVE_INFINITY;
  }

  /** The addresses of these targets, and from now on of no others. */
  async find(names: readonly string[], signal: AbortSignal): Promise<TargetAddresses> {
    const { clock, minTtl, maxTtl } = this.#settings;
    this.#lookups = new Map(names.map((name) => [name, this.#lookups.get(name) ?? this.#lookup(name)]));
    const all = [...this.#lookups.values()];
    const due = all.filter(({ expires }) => expires <= clock.now());
    const errors: Error[] = [];
    const worker = async (): Promise<void> => {
      for (let lookup = due.pop(); lookup !== undefined; lookup = due.pop()) {
        const finding = await lookup.addresses.findBefore(signal);
        if (finding.kind === 'failed') errors.push(finding.error);
        else lookup.items = finding.kind === 'found' ? finding.items : [];
        const ttl = finding.kind === 'found' ? Math.max(finding.ttl, minTtl) : retryAfter;
        lookup.expires = clock.now() + Math.min(ttl, maxTtl);
      }
    };
    await Promise.all(Array.from({ length: parallel }, worker));
    return {
      addressesOf: new Map([...this.#lookups].map(([name, { items }]) => [name, items])),
      ttl:
        all.reduce((least, { expires }) => Math.min(least, expires), Number.POSITIVE_INFINITY) - clock.now(),
      errors,
    };
  }

  #lookup(name: string): Lookup {
    return {
      addresses: new Addresses(`${name}.`, this.#settings, this.#warn),
      items: [],
      expires: Number.NEGATIVE_INFINITY,
    };
  }
}
