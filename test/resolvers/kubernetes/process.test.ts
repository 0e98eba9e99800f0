import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeCluster } from '../../../src/testing/index.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../../..');

let cluster: FakeCluster;

beforeEach(async () => {
  cluster = await FakeCluster.start({ namespace: 'shop' });
});

afterEach(() => cluster.close());

/** Runs a module and gives back what it printed. */
async function script(
  code: string,
  env: NodeJS.ProcessEnv = {},
  flags: readonly string[] = [],
): Promise<string> {
  const { stdout } = await run(process.execPath, [...flags, '--input-type=module', '--eval', code], {
    cwd: root,
    env: { ...process.env, KUBECONFIG: cluster.kubeconfig, ...env },
    timeout: 15_000,
  });
  return stdout;
}

const watch = `
  const { kubernetes } = await import('./src/resolvers/kubernetes.ts');
  const told = Promise.withResolvers();
  const watch = kubernetes().watch({ protocol: 'http:', host: 'orders', port: 8080 }, {
    onEndpoints: (set) => { console.log('set of', set.length); told.resolve(); },
    onError: (error) => { console.log(error.code); told.resolve(); },
  });
  const hold = setInterval(() => {}, 1000);
  await told.promise;
  clearInterval(hold);
`;

describe('a process', () => {
  test('that forgets to close its watch ends all the same', async () => {
    await cluster.service('orders', { replicas: 2 });
    expect(await script(`${watch} console.log('done');`)).toBe('set of 2\ndone\n');
  });

  test('that forgets it during an outage ends as well', async () => {
    await cluster.api.down();
    expect(await script(`${watch} console.log('done');`)).toBe('STEERSMAN_ERR_UNREACHABLE\ndone\n');
  });

  test('that may not read the service account is told of which file', async () => {
    const printed = await script(
      watch.replace('error.code', 'error.message'),
      { KUBECONFIG: '', KUBERNETES_SERVICE_HOST: '127.0.0.1' },
      ['--permission', `--allow-fs-read=${root}`],
    );
    expect(printed).toMatch(/serviceaccount\/token cannot be read/);
  });

  test('that closes its watch has nothing left of it', async () => {
    await cluster.service('orders', { replicas: 2 });
    const printed = await script(`${watch}
      await watch.close();
      await new Promise((resolve) => setImmediate(resolve));
      console.log(process.getActiveResourcesInfo().filter((kind) => /TCP|Timeout|TLS/.test(kind)).join());
    `);
    expect(printed).toBe('set of 2\n\n');
  });

  test('that only makes a resolver loads no Kubernetes client', async () => {
    const printed = await script(`
      const { kubernetes } = await import('./src/resolvers/kubernetes.ts');
      kubernetes();
      const before = process.memoryUsage().rss;
      const start = performance.now();
      await import('@kubernetes/client-node');
      console.log(performance.now() - start > 50 ? 'loaded only now' : 'was loaded before');
    `);
    expect(printed).toBe('loaded only now\n');
  });
});

test('npm run test:cluster holds against an API server', async () => {
  const { stdout } = await run(process.execPath, ['scripts/test-cluster.ts'], {
    cwd: root,
    env: { ...process.env, KUBECONFIG: cluster.kubeconfig },
    timeout: 60_000,
  });
  expect(stdout).not.toContain('FAIL');
  expect(stdout).toMatch(/\n1[78] of 18 hold, 0 fail/);
  expect(cluster.api.watches).toBe(0);
}, 60_000);
