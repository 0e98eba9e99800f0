import { type AddressInfo, createServer } from 'node:net';
import type { Random } from '../../core/clock.ts';

/** 127.0.0.0 as a number. */
const loopback = 127 * 2 ** 24;

/**
 * Hands out loopback addresses, each once: 127.0.0.0/8 is all ours on Linux, so every pod can have an address of
 * its own with the same port, as real pods have. Elsewhere there is 127.0.0.1 only, and ports must differ.
 */
export class Addresses {
  #last: number;
  /** Whether addresses differ. */
  readonly distinct: boolean;

  private constructor(last: number, distinct: boolean) {
    this.#last = last;
    this.distinct = distinct;
  }

  /** Begins somewhere in 127.1.0.0–127.199.255.0, so that clusters side by side do not meet. */
  static async find(random: Random): Promise<Addresses> {
    const start = loopback + (1 + Math.floor(random() * 199)) * 2 ** 16 + Math.floor(random() * 256) * 2 ** 8;
    return (await canListen(format(start + 1))) ? new Addresses(start, true) : Addresses.shared();
  }

  /** 127.0.0.1 for all. */
  static shared(): Addresses {
    return new Addresses(loopback, false);
  }

  next(): string {
    if (!this.distinct) return '127.0.0.1';
    do this.#last++;
    while ((this.#last & 255) === 0 || (this.#last & 255) === 255);
    return format(this.#last);
  }
}

function format(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

async function canListen(address: string): Promise<boolean> {
  try {
    await freePort(address);
    return true;
  } catch {
    return false;
  }
}

/** A port that nothing listens on at this address, nor, most likely, at its neighbours. */
export function freePort(address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, address, () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
