import { isDeepStrictEqual } from 'node:util';
import type { Random } from '../../core/clock.ts';
import { listObjects } from './listing.ts';
import { generatedName, type KubeObject, timestamp, uid } from './objects.ts';
import { jsonPatch, mergePatch } from './patch.ts';
import type { ApiRequest } from './request.ts';
import { apiVersion, namespaces, type Resource, resources } from './resources.ts';
import {
  alreadyExists,
  badRequest,
  conflict,
  deleted,
  notFound,
  typed,
  unsupportedMediaType,
} from './status.ts';
import type { Store } from './store.ts';
import { validate } from './validation.ts';

/** An object as callers write it, with its kind. */
export type Manifest = Readonly<Record<string, unknown>>;

/** Fills in what the cluster allots, such as a Service's address, or keeps what the current object has. */
export type Admit = (resource: Resource, object: KubeObject, current: KubeObject | undefined) => KubeObject;

const json = 'application/json';

export interface Written {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** Creates, replaces, patches and deletes, with what a server adds to an object on the way. */
export class Writer {
  readonly #store: Store;
  readonly #random: Random;
  readonly #admit: Admit;

  constructor(store: Store, random: Random, admit: Admit) {
    this.#store = store;
    this.#random = random;
    this.#admit = admit;
  }

  create(resource: Resource, namespace: string | undefined, manifest: Manifest): KubeObject {
    const { metadata, ...fields } = this.#read(resource, namespace, manifest);
    const name =
      metadata.name || (metadata.generateName && generatedName(this.#random, metadata.generateName)) || '';
    if (resource.namespaced && this.#store.get(namespaces, undefined, metadata.namespace ?? '') === undefined)
      throw notFound(namespaces, metadata.namespace ?? '');
    if (this.#store.get(resource, metadata.namespace, name)) throw alreadyExists(resource, name);
    const { name: _, generateName, namespace: home, resourceVersion: __, ...more } = metadata;
    const written = {
      metadata: {
        name,
        ...(generateName === undefined ? {} : { generateName }),
        ...(home === undefined ? {} : { namespace: home }),
        ...more,
        uid: uid(this.#random),
        ...(resource.generations ? { generation: 1 } : {}),
        creationTimestamp: timestamp(),
      },
      ...fields,
    };
    const object = this.#admit(resource, written, undefined);
    validate(resource, object);
    return this.#store.put(resource, object);
  }

  /** Replaces an object; a resourceVersion in it must be the current one. Writing what is there changes nothing. */
  update(resource: Resource, namespace: string | undefined, name: string, manifest: Manifest): KubeObject {
    const current = this.#store.get(resource, namespace, name);
    if (current === undefined) throw notFound(resource, name);
    const { metadata, ...fields } = this.#read(resource, namespace, manifest);
    if (metadata.name !== name)
      throw badRequest(
        `the name of the object (${metadata.name}) does not match the name on the URL (${name})`,
      );
    const expected = metadata.resourceVersion ?? '';
    if (expected !== '' && expected !== current.metadata.resourceVersion) throw conflict(resource, name);
    const { uid: own, creationTimestamp, resourceVersion, generation = 1 } = current.metadata;
    const numbered = (count: number): object => (resource.generations ? { generation: count } : {});
    const kept = { uid: own, creationTimestamp, resourceVersion, ...numbered(generation) };
    const written = { metadata: { ...metadata, ...kept } as KubeObject['metadata'], ...fields };
    const object = this.#admit(resource, written, current);
    if (isDeepStrictEqual(object, current)) return current;
    validate(resource, object);
    return this.#store.put(resource, {
      ...object,
      metadata: { ...object.metadata, ...numbered(generation + 1) },
    });
  }

  patch(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    type: string,
    patch: unknown,
  ): KubeObject {
    const current = this.#store.get(resource, namespace, name);
    if (current === undefined) throw notFound(resource, name);
    switch (type) {
      // Lists are replaced whole in both: no list here has elements worth merging by key.
      case 'application/merge-patch+json':
      case 'application/strategic-merge-patch+json':
        return this.update(resource, namespace, name, mergePatch(current, patch) as Manifest);
      case 'application/json-patch+json':
        return this.update(resource, namespace, name, jsonPatch(current, patch) as Manifest);
      default:
        throw unsupportedMediaType(
          'application/json-patch+json',
          'application/merge-patch+json',
          'application/strategic-merge-patch+json',
        );
    }
  }

  delete(resource: Resource, namespace: string | undefined, name: string): KubeObject {
    const gone = this.#store.remove(resource, namespace, name);
    if (gone === undefined) throw notFound(resource, name);
    if (resource === namespaces) {
      for (const kind of resources.filter((other) => other.namespaced))
        for (const { metadata } of this.#store.list(kind))
          if (metadata.namespace === name) this.#store.remove(kind, name, metadata.name);
    }
    return gone;
  }

  /** Serves a request that writes; `read` gives the document in its body. */
  serve(request: ApiRequest, resource: Resource, type: string, read: () => unknown): Written {
    const { verb, namespace, name = '' } = request;
    if ((verb === 'create' || verb === 'update') && type !== json) throw unsupportedMediaType(json);
    switch (verb) {
      case 'create':
        return { status: 201, body: typed(resource, this.create(resource, namespace, read() as Manifest)) };
      case 'update':
        return {
          status: 200,
          body: typed(resource, this.update(resource, namespace, name, read() as Manifest)),
        };
      case 'patch':
        return { status: 200, body: typed(resource, this.patch(resource, namespace, name, type, read())) };
      case 'delete':
        return {
          status: 200,
          body: deleted(resource, name, this.delete(resource, namespace, name).metadata.uid),
        };
      default:
        return { status: 200, body: this.#deleteMany(request, resource) };
    }
  }

  #deleteMany(request: ApiRequest, resource: Resource): Record<string, unknown> {
    const list = listObjects(this.#store, request, resource);
    for (const { metadata } of list['items'] as readonly KubeObject[])
      this.delete(resource, metadata.namespace, metadata.name);
    return list;
  }

  /** Checks that a manifest is of this kind and namespace. */
  #read(resource: Resource, namespace: string | undefined, manifest: Manifest): KubeObject {
    if (typeof manifest !== 'object' || manifest === null || Array.isArray(manifest))
      throw badRequest('the object provided is unrecognized (must be of type object)');
    const { kind, apiVersion: version, metadata: given, ...fields } = manifest;
    if (
      (kind !== undefined && kind !== resource.kind) ||
      (version !== undefined && version !== apiVersion(resource))
    )
      throw badRequest(
        `${String(kind)} in version ${JSON.stringify(version)} cannot be handled as a ${resource.kind}: no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(version)}`,
      );
    const metadata = { ...(given as KubeObject['metadata'] | undefined) } as KubeObject['metadata'];
    if (metadata.namespace !== undefined && namespace !== undefined && metadata.namespace !== namespace)
      throw badRequest(
        'the namespace of the provided object does not match the namespace sent on the request',
      );
    const home = resource.namespaced ? { namespace: metadata.namespace ?? namespace ?? 'default' } : {};
    return { metadata: { ...metadata, ...home }, ...fields };
  }
}
