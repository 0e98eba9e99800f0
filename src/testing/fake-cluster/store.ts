import type { KubeObject } from './objects.ts';
import type { Resource } from './resources.ts';

/** One change. `object` is the last state for a deletion too, with the revision of the deletion. */
export interface StoreEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly resource: Resource;
  readonly revision: number;
  readonly object: KubeObject;
  readonly previous: KubeObject | undefined;
}

/** Anything but 0 and 1, so that no client takes the first revision for "any". */
const firstRevision = 1000;

function keyOf(object: KubeObject): string {
  return keyFor(object.metadata.namespace, object.metadata.name);
}

function keyFor(namespace: string | undefined, name: string): string {
  return `${namespace ?? ''}/${name}`;
}

/**
 * Objects with one revision counter over all of them, as etcd has it, and the changes of late, as a watch
 * cache keeps them: what was forgotten can neither be watched from nor listed at.
 */
export class Store {
  readonly #objects = new Map<Resource, Map<string, KubeObject>>();
  readonly #watchers = new Set<(event: StoreEvent) => void>();
  readonly #history: number;
  #events: StoreEvent[] = [];
  #revision = firstRevision;
  #oldest = firstRevision;

  /** Keeps the last `history` changes. */
  constructor(history: number) {
    this.#history = history;
  }

  /** Of the last change. */
  get revision(): number {
    return this.#revision;
  }

  /** The oldest revision whose successors are all known. */
  get oldest(): number {
    return this.#oldest;
  }

  get(resource: Resource, namespace: string | undefined, name: string): KubeObject | undefined {
    return this.#objects.get(resource)?.get(keyFor(namespace, name));
  }

  /** Sorted by namespace and name; `at` an older revision, which must not be older than `oldest`. */
  list(resource: Resource, at: number = this.#revision): KubeObject[] {
    const objects = new Map(this.#objects.get(resource));
    for (let i = this.#events.length - 1; i >= 0; i--) {
      const event = this.#events[i] as StoreEvent;
      if (event.revision <= at) break;
      if (event.resource !== resource) continue;
      if (event.previous === undefined) objects.delete(keyOf(event.object));
      else objects.set(keyOf(event.object), event.previous);
    }
    return [...objects.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  /** Creates or replaces; returns what is now kept. */
  put(resource: Resource, object: KubeObject): KubeObject {
    let kept = this.#objects.get(resource);
    if (kept === undefined) this.#objects.set(resource, (kept = new Map()));
    const previous = kept.get(keyOf(object));
    const revised = this.#revise(object);
    kept.set(keyOf(object), revised);
    this.#record({ type: previous ? 'MODIFIED' : 'ADDED', resource, object: revised, previous });
    return revised;
  }

  /** The last state, or undefined when there was nothing. */
  remove(resource: Resource, namespace: string | undefined, name: string): KubeObject | undefined {
    const kept = this.#objects.get(resource);
    const previous = kept?.get(keyFor(namespace, name));
    if (kept === undefined || previous === undefined) return undefined;
    kept.delete(keyFor(namespace, name));
    const object = this.#revise(previous);
    this.#record({ type: 'DELETED', resource, object, previous });
    return object;
  }

  /** Changes of a resource after `revision`, oldest first. */
  since(resource: Resource, revision: number): StoreEvent[] {
    return this.#events.filter((event) => event.resource === resource && event.revision > revision);
  }

  /** Called with each change, in order, before whoever made it goes on. */
  watch(watcher: (event: StoreEvent) => void): () => void {
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  /** Moves on by one revision, as a write to something that is not kept here would. */
  touch(): void {
    this.#revision++;
  }

  /** Forgets every change so far. */
  compact(): void {
    this.#events = [];
    this.#oldest = this.#revision;
  }

  #revise(object: KubeObject): KubeObject {
    this.#revision++;
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#revision) } };
  }

  #record(change: Omit<StoreEvent, 'revision'>): void {
    const event = { ...change, revision: this.#revision };
    this.#events.push(event);
    if (this.#events.length > this.#history) this.#oldest = this.#events.shift()?.revision ?? this.#oldest;
    for (const watcher of [...this.#watchers]) watcher(event);
  }
}
