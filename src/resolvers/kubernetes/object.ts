interface Metadata {
  readonly name?: unknown;
  readonly resourceVersion?: unknown;
}

function metadataOf(object: unknown): Metadata {
  return (object as { metadata?: Metadata | null } | null)?.metadata ?? {};
}

/** The version of an API object: opaque, only to be handed back. */
export function versionOf(object: unknown): string | undefined {
  const { resourceVersion } = metadataOf(object);
  return typeof resourceVersion === 'string' && resourceVersion !== '' ? resourceVersion : undefined;
}

export function nameOf(object: unknown): string | undefined {
  const { name } = metadataOf(object);
  return typeof name === 'string' && name !== '' ? name : undefined;
}
