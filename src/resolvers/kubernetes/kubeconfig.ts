import { readFile, stat } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { dirname } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node';
import type { ClusterConfig, Credentials } from './credentials.ts';
import { WatchError } from './errors.ts';

function broken(message: string, cause?: unknown): WatchError {
  return new WatchError(message, 'STEERSMAN_ERR_KUBECONFIG', { cause });
}

/** Loaded only here: it costs most of a second and 50 MB, which users of DNS and of in-cluster watches need not pay. */
async function emptyConfig(): Promise<KubeConfig> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  return new KubeConfig();
}

/** What a YAML error may be quoted as: its snippet of the source could hold a token. */
function yamlReason(error: unknown): string {
  const { reason, mark } = error as { reason?: unknown; mark?: { line?: number } };
  if (typeof reason === 'string')
    return `is not valid YAML: ${reason}${mark?.line === undefined ? '' : ` in line ${mark.line + 1}`}`;
  // Its own messages name the missing field, never a value.
  if (error instanceof Error && /^(clusters|users|contexts)\[\d+\]\S* is missing/.test(error.message))
    return `is incomplete: ${error.message.split('\n', 1)[0]}`;
  return 'is not a kubeconfig';
}

/** Kubernetes spells the field tokenFile; the package reads token-file, once. */
const tokenFile = /((?:^|[{,])[ \t]*(?:- )?"?)tokenFile("?[ \t]*:)/gm;

async function parse(text: string, name: string): Promise<KubeConfig> {
  const config = await emptyConfig();
  try {
    config.loadFromString(text.replace(tokenFile, '$1token-file$2'));
  } catch (error) {
    throw broken(`${name} ${yamlReason(error)}`);
  }
  return config;
}

/** Completes and checks a loaded configuration, so that what follows cannot fail on it. */
function useContext(config: KubeConfig, context: string | undefined, name: string): KubeConfig {
  const known = config.contexts.map((entry) => entry.name).join(', ') || 'none';
  const wanted = context ?? config.currentContext;
  if (wanted === undefined || wanted === '')
    throw broken(`${name} has no current-context: pass the option context; known contexts: ${known}`);
  const found = config.getContextObject(wanted);
  if (found === null)
    throw broken(`${name} has no context ${JSON.stringify(wanted)}; known contexts: ${known}`);
  const cluster = config.getCluster(found.cluster);
  if (cluster === null)
    throw broken(
      `${name}: context ${JSON.stringify(wanted)} names the cluster ${JSON.stringify(found.cluster)}, which is not in it`,
    );
  if (config.getUser(found.user) === null)
    throw broken(
      `${name}: context ${JSON.stringify(wanted)} names the user ${JSON.stringify(found.user)}, which is not in it`,
    );
  if (!URL.canParse(cluster.server) || !/^https?:\/\//.test(cluster.server))
    throw broken(
      `${name}: server of the cluster ${JSON.stringify(found.cluster)} is not an http or https URL`,
    );
  config.setCurrentContext(wanted);
  return config;
}

/** Headers and TLS files of the current context; exec plugins, OIDC and token files are the package's work. */
async function credentialsOf(config: KubeConfig, name: string): Promise<Credentials> {
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw broken(`${name} has no current cluster`);
  const options: RequestOptions = {};
  const plain = cluster.server.startsWith('http:');
  // The package refuses plain HTTP unless told not to verify; there is nothing to verify then.
  if (plain && !cluster.skipTLSVerify)
    config.clusters = config.clusters.map((entry) =>
      entry.name === cluster.name ? { ...entry, skipTLSVerify: true } : entry,
    );
  try {
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    throw broken(
      `${name}: credentials of the context ${JSON.stringify(config.currentContext)} cannot be had: ${reasonOf(error)}`,
    );
  }
  const headers: Record<string, string> = {};
  for (const [key, value] of Object.entries(options.headers ?? {})) {
    if (typeof value === 'string' && value.trim() !== '') headers[key.toLowerCase()] = value.trim();
  }
  if (typeof options.auth === 'string')
    headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  const { ca, cert, key, servername } = options as Record<string, unknown>;
  return {
    server: cluster.server,
    headers,
    tls: {
      ...(isPem(ca) ? { ca } : {}),
      ...(isPem(cert) ? { cert } : {}),
      ...(isPem(key) ? { key } : {}),
      ...(typeof servername === 'string' ? { servername } : {}),
      rejectUnauthorized: !cluster.skipTLSVerify,
    },
    ...(cluster.proxyUrl ? { proxy: cluster.proxyUrl } : {}),
  };
}

function isPem(value: unknown): value is string | Buffer {
  return typeof value === 'string' || Buffer.isBuffer(value);
}

/** Why credentials could not be had: the code of a failed file or program; never what a plugin printed. */
function reasonOf(error: unknown): string {
  const { code, path, syscall } = error as NodeJS.ErrnoException;
  if (typeof code === 'string') return [code, syscall, path].filter(Boolean).join(' ');
  return 'the credential plugin failed';
}

let instances = 0;
const instanceKeys = new WeakMap<KubeConfig, string>();

/** A configuration the caller has loaded. */
export function fromInstance(given: KubeConfig, context: string | undefined): ClusterConfig {
  const name = 'the KubeConfig given as option kubeconfig';
  let key = instanceKeys.get(given);
  if (key === undefined) instanceKeys.set(given, (key = `instance ${++instances}`));
  const wanted = context ?? given.getCurrentContext();
  useContext(given, wanted, name);
  return {
    key: `${key} ${wanted}`,
    namespace: given.getContextObject(wanted)?.namespace,
    credentials: () => credentialsOf(given, name),
  };
}

/** A kubeconfig as YAML or JSON text. */
export async function fromText(text: string, context: string | undefined): Promise<ClusterConfig> {
  const name = 'the text given as option kubeconfig';
  const load = async (): Promise<KubeConfig> => useContext(await parse(text, name), context, name);
  let config = await load();
  return {
    key: `text ${context ?? ''} ${text}`,
    namespace: config.getContextObject(config.getCurrentContext())?.namespace,
    async credentials(fresh) {
      if (fresh) config = await load();
      return credentialsOf(config, name);
    },
  };
}

/** One kubeconfig file, or several as in `KUBECONFIG`: the first to define a name wins. */
export async function fromFiles(
  files: readonly string[],
  context: string | undefined,
  origin: string,
): Promise<ClusterConfig> {
  const name = `kubeconfig ${files.join(', ')} (${origin})`;
  let rotates = false;
  const load = async (): Promise<KubeConfig> => {
    const merged = await emptyConfig();
    rotates = false;
    for (const file of files) {
      let text: string;
      try {
        text = await readFile(file, 'utf8');
      } catch (error) {
        // As kubectl: of several files, some may be missing.
        if (files.length > 1 && (error as NodeJS.ErrnoException).code === 'ENOENT') continue;
        throw broken(`kubeconfig ${file} (${origin}) cannot be read: ${reasonOf(error)}`);
      }
      rotates ||= text.search(tokenFile) !== -1;
      const config = await parse(text, `kubeconfig ${file} (${origin})`);
      config.makePathsAbsolute(dirname(file));
      merged.clusters = [
        ...merged.clusters,
        ...config.clusters.filter((entry) => merged.getCluster(entry.name) === null),
      ];
      merged.users = [
        ...merged.users,
        ...config.users.filter((entry) => merged.getUser(entry.name) === null),
      ];
      merged.contexts = [
        ...merged.contexts,
        ...config.contexts.filter((entry) => merged.getContextObject(entry.name) === null),
      ];
      merged.currentContext ||= config.currentContext;
    }
    return useContext(merged, context, name);
  };
  let config = await load();
  let version = await versionOf(files);
  return {
    key: `files ${context ?? ''} ${files.join(' ')}`,
    namespace: config.getContextObject(config.getCurrentContext())?.namespace,
    async credentials(fresh) {
      const current = await versionOf(files);
      if (fresh || rotates || current !== version) {
        config = await load();
        version = current;
      }
      return credentialsOf(config, name);
    },
  };
}

async function versionOf(files: readonly string[]): Promise<string> {
  const stats = await Promise.all(files.map((file) => stat(file).catch(() => undefined)));
  return stats.map((stats) => `${stats?.mtimeMs} ${stats?.size}`).join();
}
