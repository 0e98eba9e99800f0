/**
 * Runs the DNS tests against the real nameservers of this machine: BIND, Knot and dnsmasq, whichever are there.
 * Where none is, and this is root on Debian, dnsmasq is installed; elsewhere the tests are skipped, with the reason.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const known = ['named', 'knotd', 'dnsmasq'];
const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin'];
const installed = (): string[] =>
  known.filter((name) => folders.some((folder) => folder !== '' && existsSync(`${folder}/${name}`)));

function skip(reason: string): never {
  console.log(`skipped the tests against real nameservers: ${reason}`);
  process.exit(0);
}

if (installed().length === 0) {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get'))
    skip(`none of ${known.join(', ')} is installed, and only root on Debian can install one here`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args: string[]): number | null =>
    spawnSync('apt-get', ['-qq', ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] }).status;
  // The package without a service: nothing is started on the machine itself.
  if (apt('update') !== 0 || apt('install', '-y', '--no-install-recommends', 'dnsmasq-base') !== 0)
    skip('dnsmasq-base cannot be installed');
}

const servers = installed();
console.log(`real nameservers: ${servers.join(', ')}`);
const { status } = spawnSync(
  process.execPath,
  ['node_modules/vitest/vitest.mjs', 'run', 'test/resolvers/real-servers.test.ts'],
  {
    stdio: 'inherit',
    env: {
      ...process.env,
      PATH: folders.join(':'),
      STEERSMAN_DNS_SERVERS: servers.join(','),
    },
  },
);
process.exit(status ?? 1);
