import { type Clock, systemClock } from '../../core/clock.ts';
import { ask } from './ask.ts';
import { withDeadline } from './deadline.ts';
import { DnsConfigSource } from './resolv-conf.ts';

export interface ExistenceOptions {
  readonly resolvConf?: string;
  /** ms in all, whatever the number of nameservers. */
  readonly deadline?: number;
  readonly clock?: Clock;
}

/** Asks whether an absolute name exists, whatever its records; undefined when no nameserver can say. Never rejects. */
export function existence({
  resolvConf = '/etc/resolv.conf',
  deadline = 1_000,
  clock = systemClock,
}: ExistenceOptions = {}): (name: string) => Promise<boolean | undefined> {
  const config = new DnsConfigSource(resolvConf, {});
  const onAnswered = (server: string): void => config.prefer(server);
  const { signal: never } = new AbortController();
  return async (name) => {
    const answer = await withDeadline({ clock, deadline }, never, (signal) =>
      config.use(clock, ({ servers }) => ask(name, 'A', { servers, clock, deadline, signal, onAnswered })),
    );
    if (answer.kind === 'failed') return undefined;
    return answer.kind === 'records' || answer.code === 'ENODATA';
  };
}
