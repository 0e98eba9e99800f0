import { Place } from './place.ts';
import { isBlockedPort } from './platform.ts';
import type { LeanRequest } from './request.ts';

/** As many as the platform follows. */
const maxRedirects = 20;

/** What says something of a body, and goes when the body goes. */
const bodyHeaders = [
  'content-encoding',
  'content-language',
  'content-location',
  'content-type',
  'content-length',
];
/** What another origin must not see. */
const secrets = ['authorization', 'proxy-authorization', 'cookie', 'host'];

/**
 * The request that a redirect asks for, the `count`-th of its call; undefined where the response names no location.
 * https://fetch.spec.whatwg.org/#http-redirect-fetch
 *
 * @throws {Error} with the platform's reason where it may not be followed.
 */
export function redirectedRequest(
  request: LeanRequest,
  status: number,
  location: string | undefined,
  count: number,
): LeanRequest | undefined {
  if (location === undefined) return undefined;
  const url = locationUrl(location, request.place.url);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new Error('URL scheme must be a HTTP(S) scheme');
  if (count > maxRedirects) throw new Error('redirect count exceeded');
  if (url.username !== '' || url.password !== '')
    throw new Error('cross origin not allowed for request mode "cors"');
  let { method, body } = request;
  if (status !== 303 && body !== undefined && !body.replayable) throw new Error();
  const { headers } = request;
  if (
    ((status === 301 || status === 302) && method === 'POST') ||
    (status === 303 && method !== 'GET' && method !== 'HEAD')
  ) {
    method = 'GET';
    body = undefined;
    for (const name of bodyHeaders) headers.delete(name);
  }
  if (url.origin !== request.place.origin) for (const name of secrets) headers.delete(name);
  if (isBlockedPort(url.port)) throw new Error('bad port');
  return { ...request, place: Place.of(url), method, body };
}

/** Some servers write UTF-8 where percent-encoding is due. */
function locationUrl(location: string, base: URL): URL {
  const text = /[^\x20-\x7e]/.test(location) ? Buffer.from(location, 'latin1').toString() : location;
  const url = new URL(text, base);
  if (url.hash === '') url.hash = base.hash;
  return url;
}
