import { afterTwoTurns, type Cancel, type Clock, type Random } from '../../core/clock.ts';
import { DiscoveryWarning } from '../../core/errors.ts';
import type { ApiServer } from './api-server.ts';
import { WatchError } from './errors.ts';
import { nameOf } from './object.ts';
import { Pace } from './pace.ts';
import { Reflector } from './reflector.ts';
import { readService, type ServiceState } from './service.ts';
import { readSlice, type Slice, type SliceObject } from './slice.ts';
import { endpointSlices, legacyEndpoints, type ServiceKey, type SlicesSource } from './slices-source.ts';

/** ms after the slices are known that the Service object is waited for. */
const servicePatience = 1_000;
/** ms between tries to read a Service while its rule is missing, which is a way to run; spread over as much again. */
const serviceForbiddenDelay = 300_000;
/** ms between renewals that callers may cause. */
const refreshSpacing = 30_000;

export interface Subscriber {
  /** These slices, or the Service, have changed. */
  onChange(names: Iterable<string>): void;
  /** What is known is current once more. */
  onLive(): void;
  onError(error: Error): void;
}

export interface ServiceWatchOptions {
  readonly api: ApiServer;
  readonly key: ServiceKey;
  readonly source: 'endpointslices' | 'endpoints';
  readonly clock: Clock;
  readonly random: Random;
}

const running = new WeakMap<ApiServer, Map<string, ServiceWatch>>();
const clockIds = new WeakMap<Clock, number>();
let clocks = 0;

function idOf(clock: Clock): number {
  const id = clockIds.get(clock) ?? ++clocks;
  clockIds.set(clock, id);
  return id;
}

/** One Service of a cluster, watched once however many ask for it. */
export class ServiceWatch {
  readonly key: ServiceKey;
  readonly slices: Map<string, Slice> = new Map();
  readonly #options: ServiceWatchOptions;
  readonly #source: SlicesSource;
  readonly #subscribers = new Set<Subscriber>();
  readonly #slicesReflector: Reflector<SlicesOf>;
  readonly #serviceReflector: Reflector<Named>;
  readonly #changed = new Set<string>();
  readonly #warned = new Set<string>();
  #cancelPatience: Cancel | undefined;
  #service: ServiceState = { kind: 'unknown' };
  #error: Error | undefined;
  #refreshed: number;

  private constructor(options: ServiceWatchOptions) {
    const { api, key, clock, random } = options;
    this.key = key;
    this.#options = options;
    this.#refreshed = clock.now();
    const source = options.source === 'endpoints' ? legacyEndpoints(key) : endpointSlices(key);
    this.#source = source;
    const pace = new Pace(clock);
    this.#slicesReflector = new Reflector<SlicesOf>(
      source.collection,
      {
        read: (object) => this.#read(object),
        onReplace: (items) => this.#replace(items),
        onUpsert: (item) => this.#upsert(item),
        onDelete: (item) => this.#delete(item),
        onSettled: () => this.#settle(),
        onLive: () => {
          this.#error = undefined;
          for (const subscriber of [...this.#subscribers]) subscriber.onLive();
        },
        onError: (error) => this.#fail(this.#explain(error)),
      },
      { api, clock, random, pace },
    );
    this.#serviceReflector = new Reflector<Named>(
      {
        path: `/api/v1/namespaces/${encodeURIComponent(key.namespace)}/services`,
        selector: `fieldSelector=${encodeURIComponent(`metadata.name=${key.service}`)}`,
      },
      {
        read: (object) => ({ name: nameOf(object), object }),
        onReplace: (items) => {
          const found = items.find(({ name }) => name === key.service);
          this.#learn(found === undefined ? { kind: 'absent' } : readService(found.object));
        },
        onUpsert: ({ name, object }) => {
          if (name === key.service) this.#learn(readService(object));
        },
        onDelete: ({ name }) => {
          if (name === key.service) this.#learn({ kind: 'absent' });
        },
        onSettled: () => {},
        onLive: () => {},
        onError: (error) => {
          if (this.#service.kind === 'unknown') this.#learn({ kind: 'unreadable' });
          // To run without that rule is fine, and what keeps the slices from us as well is told with them.
          if (
            error.code === 'STEERSMAN_ERR_API' &&
            this.#error === undefined &&
            this.#slicesReflector.synchronised
          )
            this.#warn(`the Service ${key.service} in ${key.namespace} cannot be read: ${error.message}`);
        },
      },
      { api, clock, random, pace, forbiddenDelay: serviceForbiddenDelay },
    );
  }

  static of(options: ServiceWatchOptions): ServiceWatch {
    const watches = running.get(options.api) ?? new Map<string, ServiceWatch>();
    running.set(options.api, watches);
    const name = ServiceWatch.#nameOf(options);
    let watch = watches.get(name);
    if (watch === undefined) watches.set(name, (watch = new ServiceWatch(options)));
    return watch;
  }

  static #nameOf({ source, key, clock }: ServiceWatchOptions): string {
    return `${source} ${key.namespace}/${key.service} ${idOf(clock)}`;
  }

  get service(): ServiceState {
    return this.#service;
  }

  get resourceVersion(): string {
    return this.#slicesReflector.resourceVersion;
  }

  /** Whether enough is known to tell a set. */
  get known(): boolean {
    return this.#slicesReflector.synchronised && this.#service.kind !== 'unknown';
  }

  /** What goes wrong at present. */
  get error(): Error | undefined {
    return this.#error;
  }

  subscribe(subscriber: Subscriber): void {
    this.#subscribers.add(subscriber);
  }

  /** Ends the watch with its last subscriber. */
  unsubscribe(subscriber: Subscriber): void {
    if (!this.#subscribers.delete(subscriber) || this.#subscribers.size > 0) return;
    running.get(this.#options.api)?.delete(ServiceWatch.#nameOf(this.#options));
    this.#cancelPatience?.();
    this.#slicesReflector.close();
    this.#serviceReflector.close();
  }

  refresh(): void {
    const now = this.#options.clock.now();
    if (now - this.#refreshed < refreshSpacing) return;
    this.#refreshed = now;
    this.#slicesReflector.refresh();
  }

  #read(object: unknown): SlicesOf {
    const warning = this.#source.warn(object);
    if (warning !== undefined) this.#warn(warning);
    const slices = new Map<string, Slice>();
    for (const [name, slice] of this.#source.read(object) ?? new Map<string, SliceObject>())
      slices.set(name, readSlice(slice, name, this.slices.get(name)));
    return { name: nameOf(object) ?? '', slices };
  }

  #replace(items: readonly SlicesOf[]): void {
    const now = new Map(items.flatMap(({ slices }) => [...slices]));
    for (const name of [...this.slices.keys()]) if (!now.has(name)) this.#set(name, undefined);
    for (const [name, slice] of now) this.#set(name, slice);
  }

  /** Also drops what the object no longer stands for: a slice may be handed to another Service. */
  #upsert({ name, slices }: SlicesOf): void {
    for (const known of this.#heldBy(name)) if (!slices.has(known)) this.#set(known, undefined);
    for (const [slice, state] of slices) this.#set(slice, state);
  }

  #delete({ name }: SlicesOf): void {
    for (const known of this.#heldBy(name)) this.#set(known, undefined);
  }

  /** The slices an object of this name may stand for: in the older API one holds all that there is. */
  #heldBy(name: string): string[] {
    return this.#options.source === 'endpoints' ? [...this.slices.keys()] : [name];
  }

  #set(name: string, slice: Slice | undefined): void {
    if (this.slices.get(name) === slice) return;
    if (slice === undefined) this.slices.delete(name);
    else this.slices.set(name, slice);
    this.#changed.add(name);
  }

  #learn(service: ServiceState): void {
    if (JSON.stringify(service) === JSON.stringify(this.#service)) return;
    this.#service = service;
    this.#cancelPatience?.();
    this.#settle();
  }

  #settle(): void {
    if (this.#slicesReflector.synchronised && this.#service.kind === 'unknown')
      this.#cancelPatience ??= this.#options.clock.schedule(servicePatience, () =>
        afterTwoTurns(() => {
          if (this.#service.kind === 'unknown') this.#learn({ kind: 'unreadable' });
        }),
      );
    if (!this.known) return;
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const subscriber of [...this.#subscribers]) subscriber.onChange(changed);
  }

  #fail(error: Error): void {
    // Said once, however often it happens.
    if (error.message === this.#error?.message) return;
    this.#error = error;
    for (const subscriber of [...this.#subscribers]) subscriber.onError(error);
  }

  #warn(message: string): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    for (const subscriber of [...this.#subscribers]) subscriber.onError(new DiscoveryWarning(message));
  }

  #explain(error: WatchError): WatchError {
    if (error.code !== 'STEERSMAN_ERR_FORBIDDEN') return error;
    const { namespace, service } = this.key;
    const group = this.#source.resource === 'endpoints' ? '""' : 'discovery.k8s.io';
    return new WatchError(
      `may not watch ${this.#source.resource} in the namespace ${namespace}: a Role there needs apiGroups [${group}], resources [${this.#source.resource}], verbs [list, watch]; \`steersman rbac ${service}.${namespace}\` prints it. The API server says: ${error.message}`,
      error.code,
      { cause: error, status: 403 },
    );
  }
}

/** What one object of the watched collection says. */
interface SlicesOf {
  readonly name: string;
  readonly slices: ReadonlyMap<string, Slice>;
}

interface Named {
  readonly name: string | undefined;
  readonly object: unknown;
}
