/** What a caller can see of a fetch, in a form that compares. */

export type Fetching = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** Everything a `Response` says of itself before its body is read. */
export function seen(response: Response): Record<string, unknown> {
  const { headers, body } = response;
  return {
    genuine: response instanceof Response,
    constructor: response.constructor === Response,
    tag: Object.prototype.toString.call(response),
    keys: Object.keys(response),
    inherited: enumerated(response),
    status: response.status,
    statusText: response.statusText,
    ok: response.ok,
    url: response.url,
    redirected: response.redirected,
    type: response.type,
    headers: [...response.headers],
    cookies: response.headers.getSetCookie(),
    headersGenuine: response.headers instanceof Headers,
    headersConstructor: response.headers.constructor === Headers,
    headersSame: response.headers === headers,
    body: response.body === null ? null : Object.prototype.toString.call(response.body),
    bodySame: response.body === body,
    bodyUsed: response.bodyUsed,
  };
}

function enumerated(object: object): string[] {
  const names: string[] = [];
  for (const name in object) names.push(name);
  return names.sort();
}

/** Class, message, code and cause, all the way down. */
export function seenError(error: unknown): unknown {
  if (!(error instanceof Error) && !(error instanceof DOMException)) return { thrown: error };
  const { code, cause } = error as { code?: unknown; cause?: unknown };
  // The parser's own words differ between versions of undici.
  if (error.constructor.name === 'HTTPParserError') return { class: error.constructor.name };
  return {
    class: error.constructor.name,
    typeError: error instanceof TypeError,
    domException: error instanceof DOMException,
    name: error.name,
    message: error.message,
    ...(code === undefined ? {} : { code }),
    ...(cause === undefined ? {} : { cause: seenError(cause) }),
  };
}

/** The value of a promise, or what can be seen of its error. */
export async function outcome(run: () => unknown): Promise<unknown> {
  try {
    return { value: await run() };
  } catch (error) {
    return { error: seenError(error) };
  }
}

export async function pieces(body: ReadableStream<Uint8Array> | null): Promise<string> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const piece of body as AsyncIterable<Uint8Array>)
    text += decoder.decode(piece, { stream: true });
  return text;
}
