import type { Cancel, Clock, Random } from '../../core/clock.ts';
import type { Endpoint } from '../../core/endpoint.ts';
import { DiscoveryWarning, ResolveError } from '../../core/errors.ts';
import type { ResolverListener, Watch } from '../../core/resolver.ts';
import { parseServiceName, type Target, targetName } from '../../core/target.ts';
import { undisturbed } from '../../core/undisturbed.ts';
import { ApiServer } from './api-server.ts';
import { type ConfigOptions, clusterConfig } from './config.ts';
import { WatchError, type WatchErrorCode } from './errors.ts';
import { clusterNames, ownNamespace } from './namespace.ts';
import { noSuchService, problemOf, whyEmpty, whyNotLocal } from './problems.ts';
import { ServiceWatch, type Subscriber } from './service-watch.ts';
import type { ServiceKey } from './slices-source.ts';
import type { Location } from './topology.ts';
import { View } from './view.ts';
import { turnSpent } from './work-budget.ts';

/** ms between looks for a configuration that cannot be used; spread over as much again. */
const configDelay = 5_000;

/** Somebody has to change something before these go away. */
const finalCodes: ReadonlySet<WatchErrorCode> = new Set([
  'STEERSMAN_ERR_KUBECONFIG',
  'STEERSMAN_ERR_UNAUTHORIZED',
  'STEERSMAN_ERR_FORBIDDEN',
  'STEERSMAN_ERR_EXTERNAL_NAME',
  'STEERSMAN_ERR_PORT',
  'STEERSMAN_ERR_NOT_A_SERVICE',
]);

export interface TargetWatchSettings {
  readonly config: ConfigOptions;
  readonly namespace: string | undefined;
  readonly location: Location;
  readonly source: 'endpointslices' | 'endpoints';
  readonly family: 4 | 6 | 'both';
  readonly clock: Clock;
  readonly random: Random;
}

/** One target of one listener: a view of a watch that others may share. */
export class TargetWatch implements Watch, Subscriber {
  readonly #target: Target;
  readonly #listener: ResolverListener;
  readonly #settings: TargetWatchSettings;
  readonly #view: View;
  #closed = false;
  #opening: Promise<void> | undefined;
  #cancelRetry: Cancel | undefined;
  #api: ApiServer | undefined;
  #watch: ServiceWatch | undefined;
  #told: readonly Endpoint[] | undefined;
  /** An error has been told, and not yet that it is over. */
  #failing = false;
  /** Since then the watch has come back. */
  #live = false;
  #problem: string | undefined;
  #warned = false;
  #working = false;
  readonly #pending = new Set<string>();
  #closing: Promise<void> | undefined;

  constructor(target: Target, listener: ResolverListener, settings: TargetWatchSettings) {
    this.#target = target;
    this.#listener = listener;
    this.#settings = settings;
    this.#view = new View({ target, location: settings.location, family: settings.family });
    queueMicrotask(() => {
      if (!this.#closed) this.#opening = this.#open();
    });
  }

  refresh(): void {
    this.#watch?.refresh();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed = true;
    this.#cancelRetry?.();
    this.#watch?.unsubscribe(this);
    await this.#opening;
    await this.#api?.release();
  }

  async #open(): Promise<void> {
    try {
      const config = await clusterConfig(this.#settings.config);
      if (this.#closed) return;
      const key = this.#key(config.namespace);
      this.#api = ApiServer.of(config);
      this.#watch = ServiceWatch.of({ ...this.#settings, api: this.#api, key });
      this.#watch.subscribe(this);
    } catch (error) {
      if (this.#closed) return;
      this.onError(error as Error);
      // What is missing may still be mounted or written.
      const { clock, random } = this.#settings;
      this.#cancelRetry = clock.schedule(configDelay * (1 + random()), () => {
        this.#opening = this.#open();
      });
      return;
    }
    if (this.#watch.error !== undefined) this.onError(this.#watch.error);
    if (this.#watch.known) this.onChange(this.#watch.slices.keys());
  }

  #key(contextNamespace: string | undefined): ServiceKey {
    const { host } = this.#target;
    const names = clusterNames();
    const parsed = parseServiceName(host, names.domain);
    if (parsed === undefined)
      throw new WatchError(
        `${host} is not the name of a Service: service, service.namespace or service.namespace.svc.${names.domain} would be`,
        'STEERSMAN_ERR_NOT_A_SERVICE',
      );
    return {
      service: parsed.service,
      namespace:
        parsed.namespace ??
        this.#settings.namespace ??
        ownNamespace() ??
        contextNamespace ??
        names.namespace ??
        'default',
    };
  }

  onChange(names: Iterable<string>): void {
    for (const name of names) this.#pending.add(name);
    if (!this.#working) this.#work();
  }

  onLive(): void {
    this.#live = true;
    if (!this.#working) this.#conclude();
  }

  /** Takes over what has changed, thousands of endpoints in several turns; nothing is told in between. */
  #work(): void {
    const watch = this.#watch;
    if (watch === undefined || this.#closed) return;
    this.#working = true;
    if (this.#view.learn(watch.service)) for (const name of watch.slices.keys()) this.#pending.add(name);
    for (const name of this.#pending) {
      this.#pending.delete(name);
      this.#view.update(name, watch.slices.get(name));
      if (this.#pending.size > 0 && turnSpent()) {
        setImmediate(() => this.#work());
        return;
      }
    }
    this.#working = false;
    this.#view.choose();
    this.#conclude();
  }

  #conclude(): void {
    const watch = this.#watch;
    if (watch === undefined || this.#closed || !watch.known) return;
    const problem = problemOf(watch, this.#view, this.#target);
    if (problem !== undefined) {
      // A set that is empty for such a reason would read as a scaled-down Service.
      if (problem.message !== this.#problem) this.onError(problem);
      this.#problem = problem.message;
      // Pods that are gone are gone, though what has become of the Service is told as an error.
      if (problem.code !== 'STEERSMAN_ERR_EXTERNAL_NAME' || !this.#told?.length) return;
      this.#tell([], watch, problem.message);
      return;
    }
    this.#problem = undefined;
    const { endpoints } = this.#view;
    if (endpoints === this.#told && !(this.#failing && this.#live)) return;
    const note = whyEmpty(watch);
    if (note !== undefined && endpoints !== this.#told)
      this.onError(new DiscoveryWarning(note, noSuchService));
    const lost = whyNotLocal(watch, this.#settings.location);
    if (lost !== undefined && !this.#warned) this.onError(new DiscoveryWarning(lost));
    this.#warned ||= lost !== undefined;
    this.#failing = false;
    this.#tell(endpoints, watch, note);
  }

  #tell(endpoints: readonly Endpoint[], { resourceVersion }: ServiceWatch, note: string | undefined): void {
    this.#told = endpoints;
    const info = { source: 'kubernetes', resourceVersion, ...(note === undefined ? {} : { note }) };
    undisturbed(() => this.#listener.onEndpoints(endpoints, info));
  }

  onError(reported: Error): void {
    if (this.#closed) return;
    const error = this.#isFinal(reported)
      ? new ResolveError(`cannot resolve ${targetName(this.#target)}: ${reported.message}`, this.#target, {
          cause: reported,
        })
      : reported;
    if (!(error instanceof DiscoveryWarning)) {
      this.#failing = true;
      this.#live = false;
    }
    undisturbed(() => this.#listener.onError(error));
  }

  /** Whether waiting will not help, so that callers are to be told at once. */
  #isFinal(error: Error): boolean {
    return error instanceof WatchError && finalCodes.has(error.code);
  }
}
