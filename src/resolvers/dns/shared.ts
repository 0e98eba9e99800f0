import { DiscoveryWarning } from '../../core/errors.ts';
import type { Watch } from '../../core/resolver.ts';
import { undisturbed } from '../../core/undisturbed.ts';
import type { Report } from './last-good.ts';

/** One running source, who watches it, and what somebody who comes later has missed. */
interface Source<T> {
  readonly watch: Watch;
  readonly reports: Set<Report<T>>;
  users: number;
  found: Parameters<Report<T>['items']> | undefined;
  error: Error | undefined;
}

/**
 * Lets all who watch the same key share one source, so that a thousand callers ask once. It opens with the first
 * and closes with the last, whose `close` waits for it. Who comes later is told the items there are, and the error
 * since.
 */
export class Shared<T> {
  readonly #sources = new Map<string, Source<T>>();

  /** `open` starts the source of this key where none runs yet. */
  watch(key: string, open: (report: Report<T>) => Watch, listener: Report<T>): Watch {
    const report: Report<T> = {
      items: (...found) => undisturbed(() => listener.items(...found)),
      error: (error) => undisturbed(() => listener.error(error)),
    };
    const source = this.#sources.get(key) ?? this.#start(key, open);
    source.users++;
    let closed: Promise<void> | undefined;
    queueMicrotask(() => {
      if (closed !== undefined) return;
      if (source.found !== undefined) report.items(...source.found);
      if (source.error !== undefined) report.error(source.error);
      source.reports.add(report);
    });
    return {
      refresh: () => {
        if (closed === undefined) source.watch.refresh();
      },
      close: () => {
        closed ??= this.#leave(key, source, report);
        return closed;
      },
    };
  }

  #start(key: string, open: (report: Report<T>) => Watch): Source<T> {
    const reports = new Set<Report<T>>();
    const watch = open({
      items(...found) {
        source.found = found;
        source.error = undefined;
        for (const report of reports) report.items(...found);
      },
      error(error) {
        if (!(error instanceof DiscoveryWarning)) source.error = error;
        for (const report of reports) report.error(error);
      },
    });
    const source: Source<T> = { watch, reports, users: 0, found: undefined, error: undefined };
    this.#sources.set(key, source);
    return source;
  }

  async #leave(key: string, source: Source<T>, report: Report<T>): Promise<void> {
    source.reports.delete(report);
    if (--source.users > 0) return;
    this.#sources.delete(key);
    await source.watch.close();
  }
}
