import { type Cancel, type Clock, wait } from '../../core/clock.ts';
import type { EventStream } from './event-stream.ts';
import { revisionOf, selectorOf } from './listing.ts';
import type { ApiRequest } from './request.ts';
import type { Resource } from './resources.ts';
import { ApiError, invalid, tooLargeRevision, tooOldToWatch, typed } from './status.ts';
import type { Store, StoreEvent } from './store.ts';

/** How long a server waits for its store to come as far as a caller says it is. */
const catchUpTime = 3_000;

/** A bookmark comes this long before a watch ends. */
const lastBookmark = 2_000;

/** Without `timeoutSeconds` a watch lasts this long, and up to twice as long. */
const watchTime = 1_800_000;

export interface WatchSettings {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  /** ms between bookmarks */
  readonly bookmarkInterval: number;
}

/** Checks what a watch asks for, before the head of its answer. */
export function checkWatch(request: ApiRequest): void {
  const { query } = request;
  revisionOf(query);
  selectorOf(request);
  if (query.get('sendInitialEvents') === null || query.get('resourceVersionMatch') === 'NotOlderThan') return;
  const message = 'Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan';
  throw invalid('meta.k8s.io', 'ListOptions', '', [
    { reason: 'FieldValueForbidden', message, field: 'resourceVersionMatch' },
  ]);
}

/** Resolves once the store has come as far as `revision`, or fails as a server that lags behind does. */
export async function catchUp(
  { store, clock }: WatchSettings,
  revision: number,
  closed: AbortSignal,
): Promise<void> {
  if (revision <= store.revision) return;
  await wait(clock, catchUpTime, closed);
  if (revision > store.revision) throw tooLargeRevision(revision, store.revision);
}

/**
 * Answers a watch until its time is over or `closed` aborts:
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export async function serveWatch(
  settings: WatchSettings,
  request: ApiRequest,
  resource: Resource,
  stream: EventStream,
  closed: AbortSignal,
): Promise<void> {
  const { store, clock, random } = settings;
  const { query } = request;
  const matches = selectorOf(request);
  const bookmarks = isTrue(query.get('allowWatchBookmarks'));
  const streaming = isTrue(query.get('sendInitialEvents'));
  const from = revisionOf(query);
  const timeout = Number(query.get('timeoutSeconds') ?? 0) * 1000 || watchTime * (1 + random());

  if (streaming && from !== undefined && from > store.revision) {
    try {
      await catchUp(settings, from, closed);
    } catch (error) {
      if (closed.aborted) return;
      return fail(stream, error);
    }
  }
  const fromState = streaming || from === undefined || from === 0;
  if (!fromState && from < store.oldest) return fail(stream, tooOldToWatch(from, store.oldest));

  // The revision the watcher knows of.
  let known = fromState ? store.revision : from;
  const bookmark = (annotations?: Record<string, string>): void => {
    const metadata = { resourceVersion: String(known), ...(annotations && { annotations }) };
    stream.send({ type: 'BOOKMARK', object: typed(resource, { metadata, ...resource.zero }) });
  };
  const forward = (event: StoreEvent): void => {
    if (event.resource !== resource || event.revision <= known) return;
    const type = typeFor(event, matches);
    if (type === undefined) return;
    known = event.revision;
    stream.send({ type, object: typed(resource, event.object) });
  };

  if (fromState) {
    for (const object of store.list(resource).filter(matches))
      stream.send({ type: 'ADDED', object: typed(resource, object) });
    if (bookmarks) bookmark({ 'k8s.io/initial-events-end': 'true' });
  } else store.since(resource, from).forEach(forward);

  const stops: Cancel[] = [store.watch(forward)];
  const refresh = (): void => {
    if (known >= store.revision) return;
    known = store.revision;
    bookmark();
  };
  const every = (delay: number): void => {
    const slot = stops.length;
    const tick = (): void => {
      refresh();
      stops[slot] = clock.schedule(delay, tick);
    };
    stops.push(clock.schedule(delay, tick));
  };
  if (bookmarks) {
    every(settings.bookmarkInterval);
    if (timeout > lastBookmark) stops.push(clock.schedule(timeout - lastBookmark, refresh));
  }
  stops.push(clock.schedule(timeout, () => stream.end()));
  closed.addEventListener('abort', () => {
    for (const stop of stops) stop();
  });
}

const isTrue = (value: string | null): boolean => value !== null && value !== 'false' && value !== '0';

/** A change that takes an object out of the selection is a deletion to the watcher, and the other way round. */
function typeFor(
  event: StoreEvent,
  matches: (object: StoreEvent['object']) => boolean,
): StoreEvent['type'] | undefined {
  if (event.type !== 'MODIFIED') return matches(event.object) ? event.type : undefined;
  const before = event.previous !== undefined && matches(event.previous);
  const now = matches(event.object);
  if (before && now) return 'MODIFIED';
  if (now) return 'ADDED';
  return before ? 'DELETED' : undefined;
}

function fail(stream: EventStream, error: unknown): void {
  if (!(error instanceof ApiError)) throw error;
  stream.send({ type: 'ERROR', object: error.body });
  stream.end();
}
