import { parseArgs } from 'node:util';
import { holdProcess, systemClock } from '../core/clock.ts';
import { addressOf, type Endpoint, sameEndpoint } from '../core/endpoint.ts';
import { DiscoveryWarning, ResolveError } from '../core/errors.ts';
import type { Resolver, SetInfo } from '../core/resolver.ts';
import { parseTarget, type Target, targetName } from '../core/target.ts';
import type { Command } from './command.ts';

const usage = `usage: steersman resolve <name | url> [options]

Prints the endpoints behind a name, where they come from, and how long that holds.

  --port <n | name>     the port, where the url has none
  --resolver <which>    auto (the default), kubernetes, dns or srv
  --watch               stay, and print changes as they come, until interrupted
  --json                one JSON object per set
  --server <ip[:port]>  ask this nameserver, not those of /etc/resolv.conf; repeatable (dns, srv)
  --family <4 | 6>      addresses of one family only (dns, srv, kubernetes)
  --namespace <name>    the namespace of a bare name (kubernetes)
  --kubeconfig <path>   instead of KUBECONFIG, the pod's service account or ~/.kube/config (kubernetes)
  --context <name>      the context of the kubeconfig (kubernetes)
  --timeout <ms>        how long to wait for the first set; 5000 by default

Exit code: 0 with endpoints, 1 without a set in time or where the name does not exist, 2 for wrong arguments,
3 when the set is empty.`;

interface Request {
  readonly target: Target;
  readonly resolver: Resolver;
  readonly watch: boolean;
  readonly json: boolean;
  readonly timeout: number;
}

async function parse(args: readonly string[]): Promise<Request> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      port: { type: 'string' },
      resolver: { type: 'string', default: 'auto' },
      watch: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      server: { type: 'string', multiple: true },
      family: { type: 'string' },
      namespace: { type: 'string' },
      kubeconfig: { type: 'string' },
      context: { type: 'string' },
      timeout: { type: 'string', default: '5000' },
    },
  });
  const [name, ...more] = positionals;
  if (name === undefined || more.length > 0)
    throw new TypeError(`one name is needed, got ${positionals.length}`);
  const timeout = Number(values.timeout);
  if (!(timeout > 0)) throw new RangeError(`--timeout must be a number of ms, got ${values.timeout}`);
  const { family } = values;
  if (family !== undefined && family !== '4' && family !== '6')
    throw new TypeError(`--family must be 4 or 6, got ${family}`);
  return {
    target: parseTarget(name, values.port),
    resolver: await resolverOf(values.resolver, {
      ...(family && { family: family === '4' ? 4 : 6 }),
      ...(values.server && { servers: values.server }),
      ...(values.namespace && { namespace: values.namespace }),
      ...(values.kubeconfig && { kubeconfig: values.kubeconfig }),
      ...(values.context && { context: values.context }),
    }),
    watch: values.watch,
    json: values.json,
    timeout,
  };
}

async function resolverOf(which: string, options: object): Promise<Resolver> {
  // Loaded when asked for: the Kubernetes client is large.
  if (which === 'dns') return (await import('../resolvers/dns.ts')).dns(options);
  if (which === 'srv') return (await import('../resolvers/dns-srv.ts')).dnsSrv(options);
  if (which === 'kubernetes') return (await import('../resolvers/kubernetes.ts')).kubernetes(options);
  if (which === 'auto') return (await import('../resolvers/auto.ts')).auto(options);
  throw new TypeError(`--resolver must be auto, kubernetes, dns or srv, got ${which}`);
}

async function run(args: readonly string[]): Promise<number> {
  let request: Request;
  try {
    request = await parse(args);
  } catch (error) {
    process.stderr.write(`steersman resolve: ${(error as Error).message}\n`);
    return 2;
  }
  const release = holdProcess();
  try {
    return await follow(request);
  } finally {
    release();
  }
}

/** Prints sets until the first has come, or with `watch` until interrupted; resolves to the exit code. */
function follow({ target, resolver, watch, json, timeout }: Request): Promise<number> {
  const name = targetName(target);
  return new Promise((resolve, reject) => {
    let last: readonly Endpoint[] | undefined;
    let lastError: Error | undefined;

    const end = (code: number): void => {
      cancel();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, interrupted);
      watching.close().then(() => resolve(code), reject);
    };
    const interrupted = (): void => end(last === undefined ? 1 : 0);
    const complain = (message: string): void => {
      process.stderr.write(json ? `${JSON.stringify({ target: name, error: message })}\n` : `! ${message}\n`);
    };
    const cancel = systemClock.schedule(timeout, () => {
      complain(`${name} was not resolved within ${timeout} ms${lastError ? `: ${lastError.message}` : ''}`);
      if (!watch) end(1);
    });
    const watching = resolver.watch(target, {
      onEndpoints(endpoints, info) {
        cancel();
        process.stdout.write(json ? jsonOf(name, endpoints, info) : linesOf(name, endpoints, info, last));
        last = endpoints;
        if (!watch) end(endpoints.length > 0 ? 0 : 3);
      },
      onError(error) {
        lastError = error;
        if (watch || error instanceof DiscoveryWarning) complain(error.message);
        else if (error instanceof ResolveError) {
          complain(error.message);
          end(1);
        }
      },
    });
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, interrupted);
  });
}

function jsonOf(name: string, endpoints: readonly Endpoint[], info: SetInfo | undefined): string {
  return `${JSON.stringify({ time: new Date().toISOString(), target: name, ...info, endpoints })}\n`;
}

/** The first set in full, then what has changed: `+` new, `-` gone, `~` told otherwise. */
function linesOf(
  name: string,
  endpoints: readonly Endpoint[],
  info: SetInfo | undefined,
  before: readonly Endpoint[] | undefined,
): string {
  const facts = [
    info?.source,
    info?.ttl !== undefined && `ttl ${(info.ttl / 1_000).toFixed(1)} s`,
    info?.resourceVersion !== undefined && `resourceVersion ${info.resourceVersion}`,
    new Date().toISOString(),
  ].filter((fact) => typeof fact === 'string');
  const count = `${endpoints.length} endpoint${endpoints.length === 1 ? '' : 's'}`;
  const known = new Map(before?.map((endpoint) => [endpoint.id, endpoint]));
  const lines = [`${name}: ${count} (${facts.join(', ')})`];
  for (const endpoint of endpoints) {
    const old = known.get(endpoint.id);
    known.delete(endpoint.id);
    if (before === undefined) lines.push(`  ${describe(endpoint)}`);
    else if (old === undefined) lines.push(`+ ${describe(endpoint)}`);
    else if (!sameEndpoint(old, endpoint)) lines.push(`~ ${describe(endpoint)}`);
  }
  for (const gone of known.values()) lines.push(`- ${describe(gone)}`);
  return `${lines.join('\n')}\n`;
}

function describe({ address, port, weight, zone, node, name }: Endpoint): string {
  const facts = [
    name,
    weight !== undefined && `weight ${weight}`,
    zone !== undefined && `zone ${zone}`,
    node !== undefined && `node ${node}`,
  ].filter((fact) => typeof fact === 'string');
  return [addressOf(address, port), ...facts].join('  ');
}

export const command: Command = {
  summary: 'print the endpoints behind a name, once or as they change',
  usage,
  run,
};
