import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Whether this process has a network of its own. */
export const namespaced: boolean = process.env.OWN_NETWORK === 'yes';

/** As a user who is root in a network of their own, in which there is nothing but loopback. */
const enter = ['-Urn', 'env', 'OWN_NETWORK=yes', 'sh', '-c'];

/** What keeps this machine from giving a test a network of its own, or packet filters in it; undefined: nothing. */
export async function namespaceProblem({
  filters = false,
}: {
  readonly filters?: boolean;
} = {}): Promise<string | undefined> {
  try {
    await run('unshare', [...enter, `ip link set lo up${filters ? ' && iptables -w -L -n' : ''}`]);
    return undefined;
  } catch (error) {
    const why = (error as Error).message.trim().split('\n').at(-1);
    return `no network namespaces${filters ? ' with iptables' : ''} here: ${why}`;
  }
}

interface Entry {
  /** Shell commands that come first. */
  readonly setup?: readonly string[];
  /** ms */
  readonly timeout?: number;
}

/** Runs a program of ours in a network of its own: what it wrote to its stdout, as JSON. */
export async function inNamespace<T>(
  program: string,
  args: readonly string[],
  { setup = [], timeout = 30_000 }: Entry = {},
): Promise<T> {
  const script = ['ip link set lo up', ...setup, 'exec "$0" --no-warnings "$@"'].join(' && ');
  const { stdout } = await run('unshare', [...enter, script, process.execPath, program, ...args], {
    timeout,
    killSignal: 'SIGKILL',
  });
  return JSON.parse(stdout) as T;
}

/** Runs Node on our stdout and stderr until it ends, in a network of its own or not: its exit code. */
export function runApart(
  args: readonly string[],
  { env, network }: { readonly env: NodeJS.ProcessEnv; readonly network: boolean },
): number {
  const node = ['--no-warnings', ...args];
  const script = 'ip link set lo up && exec "$0" "$@"';
  const { status } = network
    ? spawnSync('unshare', [...enter, script, process.execPath, ...node], { stdio: 'inherit', env })
    : spawnSync(process.execPath, node, { stdio: 'inherit', env });
  return status ?? 1;
}
