import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Random } from '../../core/clock.ts';
import { endpointSlices } from './resources.ts';
import type { Store } from './store.ts';

interface Candidate {
  readonly address: string;
  readonly port: number;
}

interface Slice {
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[] | null;
  readonly endpoints?:
    | readonly {
        readonly addresses: readonly string[];
        readonly conditions?: {
          readonly ready?: boolean;
          readonly serving?: boolean;
          readonly terminating?: boolean;
        };
      }[]
    | null;
}

/**
 * Stands in for a Service's ClusterIP as kube-proxy makes it: each new connection goes to one of the endpoints at
 * random and stays there, whatever becomes of the others. Only one thing differs from the kernel's way: where a
 * pod refuses, the caller sees its connection accepted first and then reset.
 */
export class VirtualIp {
  readonly #store: Store;
  readonly #service: { readonly namespace: string; readonly name: string; readonly portName: string };
  readonly #random: Random;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(
    store: Store,
    service: { readonly namespace: string; readonly name: string; readonly portName: string },
    random: Random,
  ) {
    this.#store = store;
    this.#service = service;
    this.#random = random;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  /** Listens at the address, on any port where the wanted one cannot be had. */
  static async listen(
    store: Store,
    service: { readonly namespace: string; readonly name: string; readonly portName: string },
    random: Random,
    address: string,
    port: number,
  ): Promise<VirtualIp> {
    const virtualIp = new VirtualIp(store, service, random);
    try {
      await virtualIp.#listen(address, port);
    } catch {
      await virtualIp.#listen('127.0.0.1', 0);
    }
    return virtualIp;
  }

  get address(): string {
    return (this.#server.address() as AddressInfo).address;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `http://address:port` */
  get url(): string {
    return `http://${this.address}:${this.port}`;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #listen(address: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, address, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
  }

  #accept(socket: Socket): void {
    const chosen = this.#choose();
    if (chosen === undefined) return void socket.resetAndDestroy();
    const pod = connect({ host: chosen.address, port: chosen.port, allowHalfOpen: true, noDelay: true });
    for (const [from, to] of [
      [socket, pod],
      [pod, socket],
    ] as const) {
      this.#sockets.add(from);
      from.once('error', () => to.resetAndDestroy());
      from.once('close', () => {
        this.#sockets.delete(from);
        if (!from.readableEnded) to.destroy();
      });
      from.pipe(to);
    }
  }

  /** Ready endpoints; those that serve while they terminate only when none is ready. */
  #choose(): Candidate | undefined {
    const { namespace, name, portName } = this.#service;
    const slices = this.#store
      .list(endpointSlices)
      .filter(
        ({ metadata }) =>
          metadata.namespace === namespace && metadata.labels?.['kubernetes.io/service-name'] === name,
      ) as unknown as Slice[];
    const ready: Candidate[] = [];
    const leaving: Candidate[] = [];
    for (const slice of slices) {
      const port = slice.ports?.find((one) => (one.name ?? '') === portName)?.port;
      if (port === undefined) continue;
      for (const { addresses, conditions } of slice.endpoints ?? []) {
        const candidate = { address: addresses[0] ?? '', port };
        if (conditions?.ready ?? true) ready.push(candidate);
        else if ((conditions?.serving ?? true) && conditions?.terminating) leaving.push(candidate);
      }
    }
    const candidates = ready.length > 0 ? ready : leaving;
    return candidates[Math.floor(this.#random() * candidates.length)];
  }
}
