import { portNumber, type Target } from '../core/target.ts';

/** The port to dial where nothing maps the target's; a port that is only a name cannot be dialled. */
export function dialledPort(target: Target, because: string): number {
  if (typeof target.port === 'string') {
    throw new TypeError(
      `${because} the port ${JSON.stringify(target.port)} of ${target.host} is a name: give the port's number, or use kubernetes() or dnsSrv(), which know ports by name`,
    );
  }
  return portNumber(target);
}
