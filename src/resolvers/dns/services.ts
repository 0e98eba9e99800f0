import type { SrvRecord } from 'node:dns';
import { addressOf, type Endpoint } from '../../core/endpoint.ts';
import { DiscoveryWarning, ResolveError } from '../../core/errors.ts';
import { hostProblem } from '../../core/target.ts';
import { Addresses } from './addresses.ts';
import { type Answer, ask } from './ask.ts';
import { withDeadline } from './deadline.ts';
import { type Asked, isUnanswered, needsTcp, nobodyKnows, nothingThere } from './describe.ts';
import type { Finding } from './last-good.ts';
import { limited } from './limited.ts';
import type { DnsSettings } from './options.ts';
import type { DnsConfig } from './resolv-conf.ts';
import { searchNames } from './search.ts';
import { isComplete, isOneService, srvEndpoints, usableRecords } from './srv.ts';
import { Targets } from './targets.ts';

/** The endpoints behind one SRV name: the prefix `_http._tcp` of the host `orders.shop`. */
export class Services {
  readonly #prefix: string;
  readonly #host: string;
  readonly #settings: DnsSettings;
  readonly #warn: (warning: DiscoveryWarning) => void;
  readonly #targets: Targets;
  #plain: { readonly addresses: Addresses; readonly port: number } | undefined;
  /** The addresses of the Service as a whole. */
  #service: Addresses | undefined;
  #pinned: string | undefined;
  #warned = '';

  /** `plainPort`: what to dial at the host's addresses where there is no SRV record at all. */
  constructor(
    prefix: string,
    host: string,
    plainPort: number | undefined,
    settings: DnsSettings,
    warn: (warning: DiscoveryWarning) => void,
  ) {
    this.#prefix = prefix;
    this.#host = host;
    this.#settings = settings;
    this.#warn = warn;
    this.#targets = new Targets(settings, warn);
    if (plainPort !== undefined)
      this.#plain = { addresses: new Addresses(host, settings, warn), port: plainPort };
  }

  /** One round of questions; never rejects. With `fresh`, some targets are looked up though they have not expired. */
  find(closing: AbortSignal, fresh: boolean): Promise<Finding<Endpoint>> {
    if (fresh) this.#targets.refresh();
    const { config, clock } = this.#settings;
    return withDeadline(this.#settings, closing, (signal) =>
      config.use(clock, (rules) => this.#round(rules, signal)),
    );
  }

  async #round(rules: DnsConfig, signal: AbortSignal): Promise<Finding<Endpoint>> {
    const { config, clock, deadline } = this.#settings;
    const { servers } = rules;
    const onAnswered = (server: string): void => config.prefer(server);
    const hosts = this.#pinned === undefined ? searchNames(this.#host, rules) : [this.#pinned];
    const asked: Asked[] = [];
    for (const host of hosts) {
      const name = `${this.#prefix}.${host}`;
      if (hostProblem(name) !== undefined) continue;
      const options = { servers, clock, deadline, signal, onAnswered };
      const answer: Answer<SrvRecord> = await ask(name, 'SRV', options);
      asked.push({ name, answers: [{ type: 'SRV', answer }] });
      if (answer.kind === 'records') {
        this.#pinned = host;
        const usable = usableRecords(answer.records);
        if (usable.length > 0) return this.#endpoints(usable, host.toLowerCase().slice(0, -1), signal);
      }
      if (answer.kind !== 'none') break;
    }
    return this.#without(asked, servers, signal);
  }

  async #endpoints(
    records: readonly SrvRecord[],
    service: string,
    signal: AbortSignal,
  ): Promise<Finding<Endpoint>> {
    const names = [...new Set(records.map(({ name }) => name))];
    if (isOneService(records, service)) {
      this.#service ??= new Addresses(`${service}.`, this.#settings, this.#warn);
      const finding = await this.#service.findBefore(signal);
      if (finding.kind !== 'found') return finding;
      if (isComplete(finding.items, names, service))
        return { ...finding, items: atPort(finding.items, records[0]?.port as number) };
    }
    const { addressesOf, ttl, current, errors } = await this.#targets.find(names, signal);
    const [error] = errors;
    if (current) {
      const notes: string[] = [];
      const items = limited(srvEndpoints(records, addressesOf), this.#name(), (note) => notes.push(note));
      if (error !== undefined)
        notes.push(`${errors.length} of ${names.length} SRV targets: ${error.message}`);
      this.#tell(notes.join('; '));
      return { kind: 'found', items, ttl };
    }
    if (error !== undefined) return { kind: 'failed', error };
    const message = `${this.#name()} has no addresses: none of its ${names.length} SRV targets has one, e.g. ${names[0]}`;
    return { kind: 'none', exists: true, error: new ResolveError(message, this.#name()) };
  }

  /** No usable record: a failure, nothing there, or a port without a name. */
  async #without(
    asked: readonly Asked[],
    servers: readonly string[],
    signal: AbortSignal,
  ): Promise<Finding<Endpoint>> {
    const answers = asked.flatMap((one) => one.answers.map(({ answer }) => answer));
    if (answers.some(({ kind }) => kind === 'failed')) {
      // Eight records fill a datagram.
      const hint = answers.some(isUnanswered) ? needsTcp : '';
      return { kind: 'failed', error: nobodyKnows(this.#name(), asked, servers, hint) };
    }
    const exists =
      this.#pinned !== undefined ||
      answers.some((answer) => answer.kind === 'none' && answer.code === 'ENODATA');
    const hint = '; only ports with a name have SRV records';
    const outcome = exists ? 'has no addresses' : 'does not exist';
    const error = nothingThere(this.#name(), outcome, asked, servers, hint);
    // Records that were there once will be there again: no other port takes their place.
    if (this.#plain === undefined || this.#pinned !== undefined) return { kind: 'none', exists, error };

    const finding = await this.#plain.addresses.findBefore(signal);
    const { port } = this.#plain;
    if (finding.kind === 'failed') return finding;
    if (finding.kind === 'none') {
      const both = `${error.message}; ${finding.error.message}`;
      return { ...finding, error: new ResolveError(both, this.#name(), { cause: finding.error.cause }) };
    }
    this.#tell(`${error.message}; port ${port} is used instead`);
    return { ...finding, items: atPort(finding.items, port) };
  }

  #name(): string {
    return `${this.#prefix}.${this.#host}`;
  }

  #tell(message: string): void {
    if (message !== '' && message !== this.#warned) this.#warn(new DiscoveryWarning(message));
    this.#warned = message;
  }
}

function atPort(addresses: readonly string[], port: number): readonly Endpoint[] {
  return addresses.map((address) => ({ id: addressOf(address, port), address, port }));
}
