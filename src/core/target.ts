import { isIP } from 'node:net';

/** What a caller asks for: a service name and a port, not an address. */
export interface Target {
  /** With the colon, as in `URL`: `http:` or `https:`. */
  readonly protocol: string;
  /** Lower case, without a trailing dot. */
  readonly host: string;
  /** A number, or a port's name; absent: the protocol's own. */
  readonly port?: number | string;
}

/** The number that is dialled where nothing maps it: the port itself, or the protocol's own. */
export function portNumber(target: Target): number {
  if (typeof target.port === 'number') return target.port;
  return target.protocol === 'https:' ? 443 : 80;
}

/** `orders.shop:http`: how messages name a target. */
export function targetName(target: Target): string {
  return target.port === undefined ? target.host : `${target.host}:${target.port}`;
}

const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** With a trailing dot. Longer texts are not even looked at. */
const longestHost = 254;
/** So many characters a protocol and a port may add. */
const longestTarget = longestHost + 32;

/** Whether a text is one label of a host name, in lower case. */
export function isLabel(text: string): boolean {
  return text.length <= 63 && label.test(text);
}

/** What is wrong with a host name, or undefined: RFC 1123 labels of at most 63, 253 in all. */
export function hostProblem(host: string): string | undefined {
  if (host === '') return 'is empty';
  if (host.length > longestHost) return 'is longer than 253 characters';
  const name = host.endsWith('.') ? host.slice(0, -1) : host;
  if (name.length > 253) return 'is longer than 253 characters';
  for (const part of name.split('.')) {
    if (part === '') return 'has an empty label';
    if (part.length > 63) return `has a label longer than 63 characters: ${part.slice(0, 16)}…`;
    if (!label.test(part.toLowerCase()))
      return `has a label that is not letters, digits and hyphens: ${JSON.stringify(part)}`;
  }
  return undefined;
}

/** Legacy spellings of IPv4 that some resolvers take: `127.1`, `0x7f.1`, `2130706433`. */
const legacyAddress = /^(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+))*\.?$/i;

/** Whether a host is an address, in any spelling, rather than a name. */
export function isAddress(host: string): boolean {
  if (host.length > longestHost) return false;
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  return isIP(bare) !== 0 || legacyAddress.test(bare);
}

/** A text as messages repeat it: neither its query nor what stands before an `@`, since both may hold a secret. */
export function legible(text: string): string {
  const [head = ''] = text.split(/[?#]/, 1);
  const rest = head === text ? '' : '?…';
  const at = head.lastIndexOf('@');
  if (at !== -1) return JSON.stringify(`…${head.slice(at).slice(0, 80)}${rest}`);
  // A password with a question mark in it.
  if (text.includes('@')) return '"…"';
  return JSON.stringify(`${head.slice(0, 80)}${rest}`);
}

/** Throws a `TypeError` that names what is wrong, unless `host` can be a service's name. */
export function checkHost(host: string, what = 'host'): string {
  if (isAddress(host)) {
    throw new TypeError(
      `${what} ${JSON.stringify(host)} is an IP address, not a service name: use fixed([...]) for known addresses`,
    );
  }
  const problem = hostProblem(host);
  if (problem !== undefined) throw new TypeError(`${what} ${JSON.stringify(host.slice(0, 80))} ${problem}`);
  return (host.endsWith('.') ? host.slice(0, -1) : host).toLowerCase();
}

export function checkPort(port: number, what = 'port'): number {
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new RangeError(`${what} must be an integer between 1 and 65535, got ${String(port)}`);
  }
  return port;
}

/** A port's name as Kubernetes takes it: up to 15 lower-case letters, digits and hyphens, at least one letter (up to 63 in a slice). */
const portName = /^(?=.*[a-z])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * The target of a URL such as `http://orders.shop:8080`; a bare name means `http`. `port` overrides the URL's:
 * a number, or the name of a port.
 */
export function parseTarget(name: string | URL, port?: number | string): Target {
  if (typeof name !== 'string' && typeof (name as URL | null)?.href !== 'string')
    throw new TypeError(`target must be a URL or service name, got ${String(name)}`);
  const text = String(name);
  if (text.length > longestTarget)
    throw new TypeError(
      `target of ${text.length} characters is not a URL or service name: its host is longer than 253 characters, or it has more than a host and a port`,
    );
  let url: URL;
  try {
    url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  } catch (cause) {
    throw explainUrl(text, cause);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new TypeError(
      `target ${legible(text)} has protocol ${url.protocol} where http: or https: is needed`,
    );
  }
  if (url.username !== '' || url.password !== '') {
    // Neither the text nor the name is repeated here: it holds a secret.
    throw new TypeError(
      `target for host ${url.hostname} has a user name or password in its URL: pass an authorization header instead`,
    );
  }
  const written = writtenHost(text);
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw new TypeError(`target ${legible(text)} has a path: give the path with each call`);
  }
  // The URL parser rewrites legacy IPv4 and unicode, so what the user wrote is checked too.
  const host = checkHost(isAddress(written) ? written : url.hostname, 'target host');
  if (typeof port === 'string' && !/^\d+$/.test(port)) {
    if (!portName.test(port))
      throw new TypeError(
        `port name ${JSON.stringify(port.slice(0, 80))} is not a Kubernetes port name: lower-case letters, digits and hyphens`,
      );
    return { protocol: url.protocol, host, port };
  }
  if (port !== undefined) return { protocol: url.protocol, host, port: checkPort(Number(port)) };
  if (url.port !== '')
    return { protocol: url.protocol, host, port: checkPort(Number(url.port), `port of ${host}`) };
  return { protocol: url.protocol, host };
}

function writtenHost(text: string): string {
  const rest = text.replace(/^[a-z][a-z0-9+.-]*:\/\//i, '').split(/[/?#]/, 1)[0] ?? '';
  const host = rest.slice(rest.lastIndexOf('@') + 1);
  return host.startsWith('[') ? host.slice(0, host.indexOf(']') + 1) : (host.split(':', 1)[0] ?? '');
}

/** Says which part of a URL is wrong, where the platform only says that it is invalid. */
function explainUrl(text: string, cause: unknown): Error {
  const host = writtenHost(text);
  const port = /:(\d+)(?:[/?#]|$)/.exec(text)?.[1];
  if (port !== undefined && (Number(port) > 65_535 || Number(port) < 1)) {
    return new RangeError(`port of ${host} must be an integer between 1 and 65535, got ${port}`, { cause });
  }
  const shown = text.includes('@') ? host : text.slice(0, 120);
  const problem = hostProblem(host);
  return new TypeError(
    `target ${JSON.stringify(shown)} is not a URL or service name${problem ? `: its host ${problem}` : ''}`,
    { cause },
  );
}

/** A Kubernetes service name taken apart. */
export interface ServiceName {
  readonly service: string;
  /** undefined for a bare name: the caller's own namespace is meant. */
  readonly namespace: string | undefined;
}

/**
 * Takes `svc`, `svc.ns`, `svc.ns.svc` or `svc.ns.svc.<cluster domain>` apart; undefined for any other host.
 * Two labels are taken as service and namespace: whether such a host is ours at all is the caller's to find out.
 */
export function parseServiceName(host: string, clusterDomain = 'cluster.local'): ServiceName | undefined {
  if (host.length > longestHost || isAddress(host)) return undefined;
  const name = (host.endsWith('.') ? host.slice(0, -1) : host).toLowerCase();
  const inDomain = name.endsWith(`.svc.${clusterDomain}`);
  const short = inDomain ? name.slice(0, -clusterDomain.length - 1) : name;
  const parts = short.split('.');
  const [service, namespace, svc] = parts;
  if (service === undefined || hostProblem(short) !== undefined) return undefined;
  if (parts.length === 1 && !inDomain)
    return service === 'localhost' ? undefined : { service, namespace: undefined };
  if (parts.length === 2 && !inDomain) return { service, namespace };
  if (parts.length === 3 && svc === 'svc') return { service, namespace };
  return undefined;
}
