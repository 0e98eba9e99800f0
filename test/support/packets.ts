import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What the kernel does to packets to a port, or to all of them. Only in a network namespace of one's own. */
export type PacketFault =
  /** So large a share of the packets is lost, in both directions. */
  | { readonly kind: 'loss'; readonly share: number }
  /** No connection is answered any more; those that exist go on. */
  | { readonly kind: 'no handshake' }
  /** Nothing passes in either direction, on connections that exist neither. */
  | { readonly kind: 'silence' }
  /** Connections are refused, by one of iptables' ways; those that exist go on. */
  | { readonly kind: 'rejected'; readonly with: string };

/** Does it until the returned function is called. */
export async function afflict(fault: PacketFault, port?: number): Promise<() => Promise<void>> {
  const rules = rulesOf(fault, port);
  for (const rule of rules) await iptables('-A', rule);
  return async () => {
    for (const rule of rules) await iptables('-D', rule);
  };
}

function rulesOf(fault: PacketFault, port: number | undefined): string[][] {
  const to = port === undefined ? [] : ['--dport', String(port)];
  const from = port === undefined ? [] : ['--sport', String(port)];
  switch (fault.kind) {
    case 'loss': {
      const lost = [
        '-m',
        'statistic',
        '--mode',
        'random',
        '--probability',
        String(fault.share),
        '-j',
        'DROP',
      ];
      // On loopback either direction comes in; without a port one rule sees both.
      return port === undefined
        ? [lost]
        : [
            [...to, ...lost],
            [...from, ...lost],
          ];
    }
    case 'no handshake':
      return [[...to, '--syn', '-j', 'DROP']];
    case 'silence':
      return [
        [...to, '-j', 'DROP'],
        [...from, '-j', 'DROP'],
      ];
    case 'rejected':
      return [[...to, '--syn', '-j', 'REJECT', '--reject-with', fault.with]];
  }
}

async function iptables(what: '-A' | '-D', rule: readonly string[]): Promise<void> {
  await run('iptables', ['-w', what, 'INPUT', '-p', 'tcp', ...rule]);
}
