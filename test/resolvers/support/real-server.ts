import { type ChildProcess, spawn } from 'node:child_process';
import { promises as dns } from 'node:dns';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Servers of Debian's that the tests know how to run. */
export type ServerName = 'named' | 'knotd' | 'dnsmasq';

export interface Srv {
  readonly target: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

/** What the zone `shop.test` holds, by first label; every record has a TTL of 1 s. */
export interface Zone {
  readonly hosts: Readonly<Record<string, readonly string[]>>;
  readonly aliases?: Readonly<Record<string, string>>;
  readonly services?: Readonly<Record<string, readonly Srv[]>>;
}

export const ttl = 1_000;

/** A real nameserver for one zone, on loopback, in a folder of its own. */
export class RealServer {
  readonly #name: ServerName;
  readonly #folder: string = mkdtempSync(join(tmpdir(), 'steersman-dns-'));
  readonly #port: number;
  #child: ChildProcess | undefined;
  #log = '';
  #serial = 1;
  #zone: Zone;

  private constructor(name: ServerName, port: number, zone: Zone) {
    this.#name = name;
    this.#port = port;
    this.#zone = zone;
  }

  static async start(name: ServerName, zone: Zone): Promise<RealServer> {
    const server = new RealServer(name, await freePort(), zone);
    await server.start();
    return server;
  }

  /** As `servers` takes it. */
  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    this.#write();
    const [command, args] = this.#command();
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text) => {
        this.#log = `${this.#log}${text}`.slice(-4_000);
      });
    this.#child = child;
    await this.#answering(child);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  }

  /** Serves another zone from now on, without a restart. */
  change(zone: Zone): void {
    this.#zone = zone;
    this.#serial++;
    this.#write();
    this.#child?.kill('SIGHUP');
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #path(file: string): string {
    return join(this.#folder, file);
  }

  #command(): [string, string[]] {
    if (this.#name === 'named')
      return ['named', ['-g', '-c', this.#path('named.conf'), '-p', String(this.#port)]];
    if (this.#name === 'knotd') return ['knotd', ['-c', this.#path('knot.conf')]];
    return ['dnsmasq', ['--keep-in-foreground', `--conf-file=${this.#path('dnsmasq.conf')}`]];
  }

  #write(): void {
    if (this.#name === 'dnsmasq') {
      writeFileSync(this.#path('hosts'), this.#hostsFile());
      writeFileSync(this.#path('dnsmasq.conf'), this.#dnsmasqConf());
      return;
    }
    writeFileSync(this.#path('shop.test.zone'), this.#zoneFile());
    writeFileSync(this.#path('named.conf'), this.#namedConf());
    writeFileSync(this.#path('knot.conf'), this.#knotConf());
  }

  #zoneFile(): string {
    const { hosts, aliases = {}, services = {} } = this.#zone;
    return [
      '$ORIGIN shop.test.',
      '$TTL 1',
      `@ SOA ns admin ${this.#serial} 3600 600 86400 1`,
      '@ NS ns',
      'ns A 192.0.2.53',
      ...Object.entries(hosts).flatMap(([name, addresses]) =>
        addresses.map((address) => `${name} ${address.includes(':') ? 'AAAA' : 'A'} ${address}`),
      ),
      ...Object.entries(aliases).map(([name, target]) => `${name} CNAME ${target}`),
      ...Object.entries(services).flatMap(([name, records]) =>
        records.map(
          ({ target, port, priority, weight }) => `${name} SRV ${priority} ${weight} ${port} ${target}`,
        ),
      ),
      '',
    ].join('\n');
  }

  #namedConf(): string {
    return `options {
  directory "${this.#folder}";
  pid-file none;
  session-keyfile none;
  lock-file none;
  listen-on port ${this.#port} { 127.0.0.1; };
  listen-on-v6 { none; };
  recursion no;
  max-records-per-type 0;
};
controls { };
zone "shop.test" { type primary; file "shop.test.zone"; };
`;
  }

  #knotConf(): string {
    return `server:
    rundir: "${this.#folder}"
    listen: 127.0.0.1@${this.#port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: warning
database:
    storage: "${this.#folder}"
zone:
  - domain: shop.test
    storage: "${this.#folder}"
    file: "shop.test.zone"
    zonefile-sync: -1
    journal-content: none
`;
  }

  #hostsFile(): string {
    const lines = Object.entries(this.#zone.hosts).flatMap(([name, addresses]) =>
      addresses.map((address) => `${address} ${name}.shop.test`),
    );
    return `192.0.2.53 ns.shop.test\n${lines.join('\n')}\n`;
  }

  #dnsmasqConf(): string {
    const { aliases = {}, services = {} } = this.#zone;
    return [
      `port=${this.#port}`,
      'listen-address=127.0.0.1',
      'bind-interfaces',
      'no-resolv',
      'no-hosts',
      'user=root',
      'pid-file=',
      'local-ttl=1',
      'local=/shop.test/',
      `addn-hosts=${this.#path('hosts')}`,
      ...Object.entries(aliases).map(([name, target]) => `cname=${name}.shop.test,${target}.shop.test`),
      ...Object.entries(services).flatMap(([name, records]) =>
        records.map(
          ({ target, port, priority, weight }) =>
            `srv-host=${name}.shop.test,${target}.shop.test,${port},${priority},${weight}`,
        ),
      ),
      '',
    ].join('\n');
  }

  async #answering(child: ChildProcess): Promise<void> {
    const end = performance.now() + 15_000;
    while (child.exitCode === null && performance.now() < end) {
      const resolver = new dns.Resolver({ timeout: 250, tries: 1 });
      resolver.setServers([this.address]);
      try {
        await resolver.resolve4('ns.shop.test.');
        return;
      } catch {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    throw new Error(`${this.#name} does not answer: ${this.#log}`);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
