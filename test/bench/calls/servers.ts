import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What every server answers: the size of a typical record. */
export const answer: string = JSON.stringify({
  id: 42,
  name: 'Ada Lovelace',
  roles: ['admin', 'author'],
  bio: 'x'.repeat(80),
});

export interface Servers {
  readonly kind: 'nginx' | 'node';
  readonly ports: readonly number[];
  close(): void;
}

/** HTTP servers in processes of their own: nginx where it is installed, node otherwise. */
export async function httpServers(count: number): Promise<Servers> {
  const nginx = spawnSync('nginx', ['-v']).status === 0;
  return nginx ? nginxServers(count) : nodeServers(count, 'http-server.ts', 'node');
}

export function grpcServers(count: number): Promise<Servers> {
  return nodeServers(count, 'grpc-server.ts', 'node');
}

async function nginxServers(count: number): Promise<Servers> {
  const folder = mkdtempSync(join(tmpdir(), 'steersman-bench-'));
  const ports = await freePorts(count);
  const config = join(folder, 'nginx.conf');
  writeFileSync(
    config,
    `worker_processes 1; worker_rlimit_nofile 16384; daemon off; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 16384; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; server_tokens off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder};`).join(' ')}
  default_type application/json;
  ${ports.map((port) => `server { listen 127.0.0.1:${port}; location / { return 200 '${answer}'; } }`).join('\n  ')}
}`,
  );
  const child = spawn('nginx', ['-c', config, '-p', folder], { stdio: 'inherit' });
  // However the benchmark ends.
  process.once('exit', () => child.kill());
  await Promise.all(ports.map(reachable));
  return {
    kind: 'nginx',
    ports,
    close() {
      child.kill('SIGQUIT');
      child.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    },
  };
}

async function nodeServers(count: number, script: string, kind: 'node'): Promise<Servers> {
  const child: ChildProcess = spawn(process.execPath, [join(import.meta.dirname, script), String(count)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [ports] = (await once(child, 'message')) as [number[]];
  return { kind, ports, close: () => void child.kill() };
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function reachable(port: number): Promise<void> {
  const deadline = Date.now() + 5_000;
  for (;;) {
    try {
      await (await fetch(`http://127.0.0.1:${port}/`)).arrayBuffer();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
