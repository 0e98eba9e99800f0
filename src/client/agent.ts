import type { Dispatcher as DispatcherType } from 'undici';
import { systemClock } from '../core/clock.ts';
import { disown } from '../core/disown.ts';
import { checkOptions } from '../core/options.ts';
import { checkHost, isAddress, legible, parseTarget, type Target } from '../core/target.ts';
import { checkCall } from '../undici/handler.ts';
import { errors } from '../undici/index.ts';
import { minded } from './body.ts';
import type { CallDispatchOptions } from './call.ts';
import { ClosableDispatcher } from './closable-dispatcher.ts';
import { environment, makeService, updateService } from './defaults.ts';
import type { ClientEvent, Listener } from './events.ts';
import { kept } from './kept-options.ts';
import { checkFixed, checkServiceOptions, fleetShape, merged, type ServiceOptions } from './options.ts';
import { Otherwise } from './otherwise.ts';
import { KnownHosts, routeOf } from './routing.ts';
import type { Service, ServiceSnapshot } from './service.ts';
import { Strays } from './strays.ts';

/** A dispatcher that the platform's `fetch` takes too, whatever undici its types were written for. */
export type AnyDispatcher = DispatcherType &
  (RequestInit extends { dispatcher?: infer D } ? NonNullable<D> : unknown);

export interface AgentOptions extends ServiceOptions {
  /** Options of single services, over the common ones, by host (`orders.shop`) or host and port (`orders.shop:8080`). */
  readonly services?: Readonly<Record<string, ServiceOptions>>;
  /**
   * Takes a host that is none by its name: true makes it a service, which is watched until `close()` once it has
   * endpoints; false leaves it alone. Also asked for hosts that are services by their names.
   */
  readonly match?: (url: URL) => boolean | undefined;
  /** Where calls to other hosts go. @default the app's own global dispatcher */
  readonly otherwise?: DispatcherType;
}

class Agent extends ClosableDispatcher {
  #options: AgentOptions;
  readonly #services = new Map<string, Service>();
  readonly #listeners: { event: ClientEvent; listener: Listener<never> }[] = [];
  readonly #hosts: KnownHosts;
  readonly #otherwise: Otherwise;
  readonly #strays: Strays;
  readonly #env = environment();

  constructor(options: AgentOptions = {}) {
    super();
    this.#options = checked(options);
    this.#hosts = new KnownHosts(this.#env.lookup, () => this.#env.now());
    this.#otherwise = new Otherwise(options.otherwise);
    this.#strays = new Strays(
      this.#services,
      options.clock ?? systemClock,
      (origin) => this.#listed(new URL(origin)) !== undefined,
    );
    this.bind('snapshot', 'update', 'subscribe');
  }

  protected override send(
    options: DispatcherType.DispatchOptions,
    modern: DispatcherType.DispatchHandler,
    given: DispatcherType.DispatchHandler,
  ): boolean {
    const { origin } = options;
    const known = typeof origin === 'string' ? this.known(origin) : undefined;
    if (known !== undefined) {
      checkCall(options, modern);
      known.dispatch(options, modern);
      return true;
    }
    const url = URL.parse(String(origin));
    const ours = url !== null && this.takes(url);
    if (ours === false) return this.#otherwise.dispatch(options, given);
    if (ours === true) {
      this.#dispatchTo(url as URL, options, modern);
      return true;
    }
    // Until DNS has answered: the caller may use the same objects for the next call.
    const waiting = kept(options);
    const release = minded(waiting.body);
    ours
      .then((is) => {
        release();
        if (is) this.#dispatchTo(url as URL, waiting, modern);
        else this.#otherwise.dispatch(waiting, given);
      })
      .catch((error: Error) => modern.onResponseError?.(null as never, error));
    return true;
  }

  /** Whether calls to this URL go to a service; a promise where the cluster's DNS has to be asked. */
  takes(url: URL): boolean | Promise<boolean> {
    if (url.protocol !== 'http:' && url.protocol !== 'https:') return false;
    if (this.#services.has(url.origin)) return true;
    const { match } = this.#options;
    if (this.#listed(url) !== undefined) return true;
    const said: unknown = match?.(url);
    if (typeof said === 'boolean') return said;
    if (said !== undefined) {
      disown(said);
      throw new TypeError(
        `option match must return true, false or undefined, got ${typeof said} for ${url.host}`,
      );
    }
    const host = url.hostname;
    const route = routeOf(host, this.#env);
    if (route !== 'ask') return route === 'ours';
    return this.#hosts.known(host) ?? this.#hosts.ask(host, `${host}.svc.${this.#env.clusterDomain}.`);
  }

  /** The service of this origin, if it has been called before. */
  known(origin: string): Service | undefined {
    const service = this.#services.get(origin);
    if (service !== undefined) service.called = true;
    return service;
  }

  /** The service that calls to this URL go to; undefined for hosts that are none. */
  serviceOf(url: URL): Service | undefined | Promise<Service | undefined> {
    const known = this.known(url.origin);
    if (known !== undefined) return known;
    const ours = this.takes(url);
    if (typeof ours === 'boolean') return ours ? this.#add(url) : undefined;
    return ours.then((is) => (is ? (this.known(url.origin) ?? this.#add(url)) : undefined));
  }

  /** What is known of each service that was called so far; those without endpoints are forgotten when not called for a minute. */
  snapshot(): readonly ServiceSnapshot[] {
    return [...this.#services.values()].map((service) => service.snapshot());
  }

  /**
   * Options of a running agent, over those it has; what was learned of endpoints is kept.
   *
   * @throws {TypeError | RangeError} for options that are wrong, and for `otherwise`, `clock`, `random` and
   * `tls.servername`, which cannot be changed.
   */
  update(options: AgentOptions): void {
    checkOptions('update', fleetShape, options);
    checkFixed(options, 'otherwise', 'clock', 'random');
    this.#options = checked(merged(this.#options, options));
    for (const [origin, service] of this.#services) {
      updateService(service, this.#optionsOf(new URL(origin)));
    }
  }

  /** Hears of every service. Returns what takes the listener back. (undici's own events keep their `on`.) */
  subscribe<E extends ClientEvent>(event: E, listener: Listener<E>): () => void {
    const entry = { event, listener: listener as Listener<never> };
    this.#listeners.push(entry);
    for (const service of this.#services.values()) service.events.on(event, listener);
    return () => {
      const at = this.#listeners.indexOf(entry);
      if (at !== -1) this.#listeners.splice(at, 1);
      // Those too that have come since.
      for (const service of this.#services.values()) service.events.off(event, listener);
    };
  }

  protected override async finish(): Promise<void> {
    const closed = (): Promise<unknown> =>
      Promise.all([...this.#services.values()].map((service) => service.close()));
    await Promise.all([this.#hosts.settled(), this.#strays.close(), closed()]);
    // Those too that DNS has named meanwhile.
    await closed();
    await this.#otherwise.close();
  }

  protected override cut(error: Error): void {
    for (const service of this.#services.values()) service.destroy(error);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #dispatchTo(url: URL, options: CallDispatchOptions, handler: DispatcherType.DispatchHandler): void {
    // As undici says it: a path there would be lost.
    if (url.pathname !== '/' || url.search !== '' || url.hash !== '')
      throw new errors.InvalidArgumentError('invalid url');
    checkCall(options, handler);
    (this.known(url.origin) ?? this.#add(url)).dispatch(options, handler);
  }

  #add(url: URL): Service {
    const options = this.#optionsOf(url);
    const service = makeService(targetOf(url, options.port), url.origin, options);
    for (const { event, listener } of this.#listeners) service.events.on(event, listener as never);
    this.#services.set(url.origin, service);
    service.connected = (dispatcher) => this.tellOf(dispatcher);
    if (this.closed) void service.close();
    else this.#strays.expect();
    return service;
  }

  #listed(url: URL): ServiceOptions | undefined {
    const { services = {} } = this.#options;
    const host = url.hostname.replace(/\.$/, '');
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    for (const key of [`${host}:${port}`, host]) if (Object.hasOwn(services, key)) return services[key];
    return undefined;
  }

  #optionsOf(url: URL): ServiceOptions {
    const { services: _services, match: _match, otherwise: _otherwise, ...common } = this.#options;
    return merged(common, this.#listed(url) ?? {});
  }
}

/**
 * A real undici Dispatcher that sends calls to services to one of their endpoints, and calls to other hosts to
 * `otherwise`. For `setGlobalDispatcher`, `fetch(url, { dispatcher })`, `undici.request`, `WebSocket` and
 * `EventSource`; it takes the handlers of both generations of undici.
 */
export type ServiceAgent = Agent & AnyDispatcher;

export const ServiceAgent: new (options?: AgentOptions) => ServiceAgent = Agent as unknown as new (
  options?: AgentOptions,
) => ServiceAgent;

/** `match` may take addresses too: whoever writes it knows what its resolver makes of them. */
function targetOf(url: URL, port: number | string | undefined): Target {
  if (!isAddress(url.hostname)) return parseTarget(url.origin, port);
  const own = port ?? (url.port === '' ? undefined : Number(url.port));
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return { protocol: url.protocol, host, ...(own === undefined ? {} : { port: own }) };
}

function checked(options: AgentOptions): AgentOptions {
  checkOptions('ServiceAgent', fleetShape, options);
  const { services = {} } = options;
  const byHost: Record<string, ServiceOptions> = Object.create(null);
  for (const [name, own] of Object.entries(services)) {
    const option = `services[${legible(name)}]`;
    const target = named(option, () => parseTarget(name));
    const key = target.port === undefined ? checkHost(target.host) : `${target.host}:${target.port}`;
    checkServiceOptions(option, own);
    byHost[key] = own;
  }
  return { ...options, services: byHost };
}

/** Says which option an error is about. */
function named<T>(option: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error) error.message = `option ${option}: ${error.message}`;
    throw error;
  }
}
