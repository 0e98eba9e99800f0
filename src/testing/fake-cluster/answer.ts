import { discovery } from './discovery.ts';
import { type Exchange, parseBody } from './exchange.ts';
import { listObjects, revisionOf } from './listing.ts';
import type { ApiRequest } from './request.ts';
import type { Resource } from './resources.ts';
import { methodNotAllowed, noSuchPath, notAcceptable, notFound, typed } from './status.ts';
import { catchUp, type WatchSettings } from './watching.ts';
import type { Writer } from './writing.ts';

export interface AnswerSettings extends WatchSettings {
  readonly writer: Writer;
}

/** Answers a request that asks for no objects but for what the server has. */
export function describe(exchange: Exchange, url: URL | undefined): void {
  const found = url && discovery(url.pathname);
  if (found === undefined) throw noSuchPath();
  exchange.reply(200, found);
}

/** The kind a request is about, once it is sure that it can be answered as the caller wants it. */
export function servedResource({ request, response }: Exchange, asked: ApiRequest): Resource {
  const { resource, allowed } = asked;
  if (resource === undefined) throw noSuchPath();
  if (!allowed) throw methodNotAllowed();
  if (!/application\/(?:json|\*)|\*\/\*/.test(request.headers.accept ?? '*/*')) throw notAcceptable();
  if (resource.warning !== undefined) response.setHeader('Warning', resource.warning);
  return resource;
}

/** Gets, lists and writes; everything but watches. */
export async function answer(
  settings: AnswerSettings,
  exchange: Exchange,
  asked: ApiRequest,
  resource: Resource,
  body: Buffer,
): Promise<void> {
  const { store, writer } = settings;
  const { verb, namespace, name = '' } = asked;
  if (verb === 'get') {
    const object = store.get(resource, namespace, name);
    if (object === undefined) throw notFound(resource, name);
    exchange.reply(200, typed(resource, object));
  } else if (verb === 'list') {
    await catchUp(settings, revisionOf(asked.query) ?? 0, exchange.closed);
    exchange.reply(200, listObjects(store, asked, resource));
  } else {
    const type = (exchange.request.headers['content-type'] ?? 'application/json').split(';', 1)[0] ?? '';
    const written = writer.serve(asked, resource, type, () => parseBody(body));
    exchange.reply(written.status, written.body);
  }
}
