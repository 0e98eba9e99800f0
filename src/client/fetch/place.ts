import { isBlockedPort } from './platform.ts';

/**
 * URLs that say what they mean: a canonical origin, if it is a known one, and a path that the URL parser would leave
 * alone. Most URLs that services are called with are of this kind.
 */
const plain =
  /^(https?:\/\/[a-z0-9.-]+(?::(\d+))?)(\/[\w\-~./,:;@!*()$+=&]*(?:\?[\w\-~./,:;@!*()$+=&%?]+)?)$/;

/** A URL in the parts that a call needs. */
export class Place {
  readonly origin: string;
  /** With the query. */
  readonly path: string;
  /** Without the fragment. */
  readonly href: string;
  #url: URL | undefined;

  private constructor(origin: string, path: string, href: string, url: URL | undefined) {
    this.origin = origin;
    this.path = path;
    this.href = href;
    this.#url = url;
  }

  /** Without parsing it, which costs more than all the rest; undefined for what has to be parsed. */
  static plain(text: string): Place | undefined {
    const found = plain.exec(text);
    if (found === null) return undefined;
    const [, origin, port, path] = found as unknown as [string, string, string | undefined, string];
    if (path.includes('/.') || (port !== undefined && isBlockedPort(port))) return undefined;
    return new Place(origin, path, text, undefined);
  }

  /** `url` has no credentials. */
  static of(url: URL): Place {
    const { origin } = url;
    const fragment = url.href.indexOf('#');
    const href = fragment === -1 ? url.href : url.href.slice(0, fragment);
    // Cut out, since the parts of a URL do not tell an empty query from none.
    return new Place(origin, href.slice(origin.length), href, url);
  }

  /** Not to be changed. */
  get url(): URL {
    this.#url ??= new URL(this.href);
    return this.#url;
  }

  /** With the fragment. */
  get whole(): string {
    return this.#url?.href ?? this.href;
  }

  get secure(): boolean {
    return this.origin.startsWith('https:');
  }
}
