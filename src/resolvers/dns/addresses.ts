import type { Cancel } from '../../core/clock.ts';
import { DiscoveryWarning } from '../../core/errors.ts';
import { canonicalAddress } from '../address.ts';
import { type AddressRecord, type Answer, ask, dnsError, refusedAddress } from './ask.ts';
import { withDeadline } from './deadline.ts';
import { type Asked, isUnanswered, needsTcp, nobodyKnows, nothingThere, told } from './describe.ts';
import { hostsAddresses } from './hosts.ts';
import type { Finding } from './last-good.ts';
import { limited } from './limited.ts';
import type { DnsSettings } from './options.ts';
import type { DnsConfig } from './resolv-conf.ts';
import { searchNames } from './search.ts';
import { ttlMs } from './ttl.ts';

/** An answer of this many addresses may come near the 512 bytes of a datagram, beyond which TCP is needed. */
const largeAnswer = 20;

/** ms that AAAA may take longer than A to learn that there is no such name (RFC 8305 §3). */
const resolutionDelay = 50;

/** ms until the next round while all that is left is what a failing family last had. */
const halfKnownTtl = 5_000;

/** One family and what it last had. */
interface Family {
  readonly type: 'A' | 'AAAA';
  known: readonly string[];
  /** ms of the clock when `known` was last confirmed. */
  confirmed: number;
}

interface FamilyAnswer {
  readonly family: Family;
  readonly type: string;
  readonly answer: Answer<AddressRecord>;
}

/**
 * The addresses of one host, family by family: one whose question fails keeps what it last had. The first absolute
 * name that has addresses is the one that all later rounds ask for.
 */
export class Addresses {
  readonly #host: string;
  readonly #settings: DnsSettings;
  readonly #warn: (warning: DiscoveryWarning) => void;
  readonly #families: readonly Family[];
  #pinned: string | undefined;
  /** What is odd about this round; told when it differs from what was told last. */
  #notes: string[] = [];
  #warned = '';

  constructor(host: string, settings: DnsSettings, warn: (warning: DiscoveryWarning) => void) {
    this.#host = host;
    this.#settings = settings;
    this.#warn = warn;
    this.#families = settings.families.map((family) => ({
      type: family === 4 ? 'A' : 'AAAA',
      known: [],
      confirmed: Number.NEGATIVE_INFINITY,
    }));
  }

  /** One round of questions; never rejects. The items are sorted, each address once. */
  find(closing: AbortSignal): Promise<Finding<string>> {
    return withDeadline(this.#settings, closing, (signal) => this.findBefore(signal));
  }

  /** As `find`, with the deadline of somebody else's round. */
  async findBefore(signal: AbortSignal): Promise<Finding<string>> {
    const { hosts, families, maxTtl, config, clock } = this.#settings;
    if (hosts !== undefined) {
      const listed = hostsAddresses(hosts, this.#host, families);
      if (listed.length > 0) return { kind: 'found', items: listed.toSorted(), ttl: maxTtl };
    }
    const finding = await config.use(clock, (rules) => this.#search(rules, signal));
    this.#tellNotes();
    return finding;
  }

  /**
   * Names in search order. Only a server's word that a name has nothing leads to the next one: after a failure it
   * could be another namespace's service, or a stranger's host.
   */
  async #search(rules: DnsConfig, signal: AbortSignal): Promise<Finding<string>> {
    this.#notes = [];
    const names = this.#pinned === undefined ? searchNames(this.#host, rules) : [this.#pinned];
    const asked: Asked[] = [];
    let answers: readonly FamilyAnswer[] = [];
    for (const name of names) {
      const told = await this.#ask(name, rules.servers, signal);
      asked.push({ name, answers: told });
      answers = withoutName(told);
      if (answers.some(({ answer }) => answer.kind === 'records')) this.#pinned = name;
      if (answers.some(({ answer }) => answer.kind !== 'none')) break;
    }
    return this.#conclude(answers, asked, rules.servers);
  }

  /** Each family's answer for one name. A server that knows no such name need not be asked twice. */
  async #ask(
    name: string,
    servers: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly FamilyAnswer[]> {
    const { config, clock, deadline } = this.#settings;
    const onAnswered = (server: string): void => config.prefer(server);
    const enough = new AbortController();
    const either = AbortSignal.any([signal, enough.signal]);
    let cancel: Cancel | undefined;
    const answers = await Promise.all(
      this.#families.map(async (family) => {
        const { type } = family;
        const answer = await ask(name, type, { servers, clock, deadline, signal: either, onAnswered });
        if (isUnknownName(type, answer))
          cancel = clock.schedule(resolutionDelay, () =>
            enough.abort(dnsError('ETIMEOUT', 'not waited for')),
          );
        return { family, type, answer: this.#screen(name, answer) };
      }),
    );
    cancel?.();
    return answers;
  }

  #conclude(
    answers: readonly FamilyAnswer[],
    asked: readonly Asked[],
    servers: readonly string[],
  ): Finding<string> {
    const hint = this.#hint(answers);
    for (const { family, answer } of answers) this.#learn(family, answer);

    const ttls = answers.flatMap(({ answer }) =>
      answer.kind === 'records' ? [leastTtl(answer.records)] : [],
    );
    const failed = answers.filter(({ answer }) => answer.kind === 'failed');
    if (failed.length === answers.length) {
      const error = nobodyKnows(this.#host, asked, servers, hint);
      return { kind: 'failed', error };
    }
    const items = this.#union();
    if (items.length > 0) {
      for (const { family, type, answer } of failed) {
        const kept = `${family.known.length} known ones are kept`;
        this.#note(`${this.#host}: no ${type} records now, ${kept}: ${told(answer)}${hint}`);
      }
      return { kind: 'found', items, ttl: ttls.length > 0 ? Math.min(...ttls) : halfKnownTtl };
    }
    // A family that never had an address and fails now does not hide that the other one's are gone.
    if (failed.length > 0 && this.#pinned === undefined) {
      const error = nobodyKnows(this.#host, asked, servers, hint);
      return { kind: 'failed', error };
    }
    const exists = asked.some((one) =>
      one.answers.some(({ answer }) => answer.kind === 'none' && answer.code === 'ENODATA'),
    );
    const outcome = exists ? 'has no addresses' : 'does not exist';
    return { kind: 'none', exists, error: nothingThere(this.#host, outcome, asked, servers) };
  }

  #learn(family: Family, answer: Answer<AddressRecord>): void {
    const { clock, maxStale } = this.#settings;
    if (answer.kind === 'records') {
      family.known = answer.records.map(({ address }) => address);
      family.confirmed = clock.now();
    } else if (answer.kind === 'none' || clock.now() - family.confirmed >= maxStale) {
      family.known = [];
    }
  }

  #union(): readonly string[] {
    const all = [...new Set(this.#families.flatMap(({ known }) => known))].sort();
    return limited(all, this.#host, (note) => this.#note(note));
  }

  /** Leaves out the addresses that may not be dialled; an answer with no other counts as failed. */
  #screen(name: string, answer: Answer<AddressRecord>): Answer<AddressRecord> {
    if (answer.kind !== 'records') return answer;
    const records: AddressRecord[] = [];
    const refused: string[] = [];
    for (const record of answer.records) {
      const address = canonicalAddress(record.address);
      if (this.#settings.accepts(address)) records.push({ address, ttl: record.ttl });
      else refused.push(address);
    }
    if (refused.length === 0) return { kind: 'records', records };
    const more = refused.length > 5 ? ` and ${refused.length - 5} more` : '';
    const message = `${name} has addresses that are not taken from DNS (see options allow and allowLoopback): ${refused.slice(0, 5).join(', ')}${more}`;
    if (records.length === 0) {
      return { kind: 'failed', code: refusedAddress, error: dnsError(refusedAddress, message) };
    }
    this.#note(message);
    return { kind: 'records', records };
  }

  #hint(answers: readonly FamilyAnswer[]): string {
    const silent = answers.find(({ answer }) => isUnanswered(answer));
    if (silent === undefined) return '';
    const othersAnswer = answers.some(({ answer }) => answer.kind !== 'failed');
    return othersAnswer || silent.family.known.length >= largeAnswer ? needsTcp : '';
  }

  #note(message: string): void {
    this.#notes.push(message);
  }

  #tellNotes(): void {
    const all = this.#notes.join('\n');
    if (all !== this.#warned) for (const note of this.#notes) this.#warn(new DiscoveryWarning(note));
    this.#warned = all;
  }
}

/**
 * Whether a server knows no such name, of whatever type (RFC 8020). That is believed of A questions only: some
 * servers say so of every AAAA question (RFC 4074 §4.2).
 */
function isUnknownName(type: string, answer: Answer<AddressRecord>): boolean {
  return type === 'A' && answer.kind === 'none' && answer.code === 'ENOTFOUND';
}

/** The answers, where no such name settles what the other family's question could not find out. */
function withoutName(answers: readonly FamilyAnswer[]): readonly FamilyAnswer[] {
  const unknown = answers.find(({ type, answer }) => isUnknownName(type, answer));
  if (unknown === undefined) return answers;
  return answers.map((one) => (one.answer.kind === 'failed' ? { ...one, answer: unknown.answer } : one));
}

/** ms */
function leastTtl(records: readonly AddressRecord[]): number {
  return records.reduce((least, { ttl }) => Math.min(least, ttlMs(ttl)), Number.POSITIVE_INFINITY);
}
