import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import dnsPacket, { type Answer, type Packet } from 'dns-packet';

export interface Asked {
  readonly name: string;
  readonly type: string;
  readonly over: 'udp' | 'tcp';
}

/** What to answer: records, or a name for what else happens. `none` is NODATA. */
export type Reply =
  | readonly Answer[]
  | 'none'
  | 'NXDOMAIN'
  | 'SERVFAIL'
  | 'REFUSED'
  | 'NOTIMP'
  | 'FORMERR'
  | 'garbage'
  | 'drop';

type Script = Reply | ((asked: Asked) => Reply);

const rcodes: Readonly<Record<string, number>> = {
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
};

/** What a server may send over UDP to a client without EDNS (RFC 1035 §4.2.1). */
const mostUdpBytes = 512;

/** A nameserver on loopback, over UDP and TCP, that answers as told and remembers what it was asked. */
export class DnsServer {
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #connections = new Set<Socket>();
  readonly #scripts = new Map<string, Script>();
  readonly asked: Asked[] = [];
  /** How TCP behaves; over UDP large answers are truncated all the same. */
  tcp: 'open' | 'silent' | 'reset' = 'open';
  readonly port: number;
  /** Called as each question comes. */
  onAsked: () => void = () => {};

  private constructor(udp: UdpSocket, tcp: Server, port: number) {
    this.#udp = udp;
    this.#tcp = tcp;
    this.port = port;
    udp.on('message', (message, from) => {
      const response = this.#respond(message, 'udp');
      if (response !== undefined) udp.send(response, from.port, from.address);
    });
    tcp.on('connection', (socket) => this.#serve(socket));
  }

  static async start(port = 0): Promise<DnsServer> {
    for (let tries = 0; ; tries++) {
      const tcp = createServer();
      tcp.listen(port, '127.0.0.1');
      await once(tcp, 'listening');
      const { port: taken } = tcp.address() as { port: number };
      const udp = createSocket('udp4');
      try {
        udp.bind(taken, '127.0.0.1');
        await once(udp, 'listening');
        return new DnsServer(udp, tcp, taken);
      } catch (error) {
        tcp.close();
        if (tries > 20) throw error;
      }
    }
  }

  /** As `servers` takes it. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** What to answer for this name and type from now on. A name with any script exists: its other types are NODATA. */
  on(name: string, type: 'A' | 'AAAA' | 'SRV' | 'ANY', script: Script): void {
    this.#scripts.set(`${name.toLowerCase()} ${type}`, script);
  }

  /** Addresses of a name, both families at once. */
  addresses(name: string, addresses: readonly string[], ttl = 30): void {
    const records = (type: 'A' | 'AAAA', own: readonly string[]): Reply =>
      own.length === 0 ? 'none' : own.map((data) => ({ name, type, ttl, data }));
    this.on(
      name,
      'A',
      records(
        'A',
        addresses.filter((address) => !address.includes(':')),
      ),
    );
    this.on(
      name,
      'AAAA',
      records(
        'AAAA',
        addresses.filter((address) => address.includes(':')),
      ),
    );
  }

  srv(
    name: string,
    records: readonly { target: string; port: number; priority?: number; weight?: number }[],
  ): void {
    this.on(
      name,
      'SRV',
      records.map(({ target, port, priority = 0, weight = 100 }) => ({
        name,
        type: 'SRV',
        ttl: 30,
        data: { target, port, priority, weight },
      })),
    );
  }

  /** Every type of this name. */
  fail(name: string, reply: Reply): void {
    for (const type of ['A', 'AAAA', 'SRV'] as const) this.on(name, type, reply);
  }

  /** How often a type was asked, of one name or of any. */
  count(type: string, name?: string): number {
    return this.asked.filter((one) => one.type === type && (name === undefined || one.name === name)).length;
  }

  async close(): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    this.#udp.close();
    this.#tcp.close();
    await Promise.all([once(this.#udp, 'close'), once(this.#tcp, 'close')]);
  }

  #serve(socket: Socket): void {
    this.#connections.add(socket);
    socket.on('close', () => this.#connections.delete(socket));
    socket.on('error', () => {});
    if (this.tcp === 'reset') return void socket.resetAndDestroy();
    let received = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const length = 2 + received.readUInt16BE(0);
        const response =
          this.tcp === 'silent' ? undefined : this.#respond(received.subarray(2, length), 'tcp');
        received = received.subarray(length);
        if (response === undefined) continue;
        const prefix = Buffer.alloc(2);
        prefix.writeUInt16BE(response.length);
        socket.write(Buffer.concat([prefix, response]));
      }
    });
  }

  #respond(message: Buffer, over: 'udp' | 'tcp'): Buffer | undefined {
    const query = dnsPacket.decode(message);
    const [question] = query.questions ?? [];
    if (question === undefined) return undefined;
    const asked: Asked = { name: question.name.toLowerCase(), type: question.type, over };
    this.asked.push(asked);
    this.onAsked();
    const reply = this.#reply(asked);
    if (reply === 'drop') return undefined;
    if (reply === 'garbage') return Buffer.concat([message.subarray(0, 2), Buffer.from([0xff, 0xff, 0xff])]);
    const rcode = typeof reply === 'string' ? (rcodes[reply] ?? 0) : 0;
    const response: Packet = {
      type: 'response',
      id: query.id ?? 0,
      flags: dnsPacket.AUTHORITATIVE_ANSWER | dnsPacket.RECURSION_DESIRED | rcode,
      questions: [question],
    };
    const answers = typeof reply === 'string' ? [] : reply;
    const bytes = encode(response, answers);
    if (over === 'tcp' || bytes.length <= mostUdpBytes) return bytes;
    const flags = (response.flags ?? 0) | dnsPacket.TRUNCATED_RESPONSE;
    return encode({ ...response, flags }, answers.slice(0, 10));
  }

  #reply(asked: Asked): Reply {
    const script =
      this.#scripts.get(`${asked.name} ${asked.type}`) ??
      this.#scripts.get(`${asked.name} ANY`) ??
      this.#scripts.get('* ANY');
    if (script !== undefined) return typeof script === 'function' ? script(asked) : script;
    const exists = [...this.#scripts.keys()].some((key) => key.startsWith(`${asked.name} `));
    return exists ? 'none' : 'NXDOMAIN';
  }
}

/** A packet with its answers, whose names point to the question where they are the same, as servers do it. */
function encode(packet: Packet, answers: readonly Answer[]): Buffer {
  const head = dnsPacket.encode(packet);
  head.writeUInt16BE(answers.length, 6);
  const [question] = packet.questions ?? [];
  const nameLength = (question?.name.length ?? 0) + 2;
  const parts = answers.map((answer) => {
    const bytes = dnsPacket.encode({ type: 'response', answers: [answer] }).subarray(12);
    const same = 'name' in answer && answer.name.toLowerCase() === question?.name.toLowerCase();
    return same ? Buffer.concat([Buffer.from([0xc0, 12]), bytes.subarray(nameLength)]) : bytes;
  });
  return Buffer.concat([head, ...parts]);
}

/** A nameserver in a thread of its own, so that its work does not stall what is measured. */
export class DnsWorker {
  readonly #worker: Worker;
  readonly #heard: Int32Array;
  readonly address: string;

  private constructor(worker: Worker, heard: Int32Array, address: string) {
    this.#worker = worker;
    this.#heard = heard;
    this.address = address;
  }

  /** Serves `size` A records of one name. */
  static async start(name: string, size: number): Promise<DnsWorker> {
    const heard = new Int32Array(new SharedArrayBuffer(4));
    const workerData = { name, size, heard };
    const worker = new Worker(new URL('./dns-worker.ts', import.meta.url), { workerData });
    const [address] = (await once(worker, 'message')) as [string];
    return new DnsWorker(worker, heard, address);
  }

  /** Stops this thread until the worker has been asked `n` questions. */
  blockUntilAsked(n: number): void {
    for (let heard = 0; heard < n; heard = Atomics.load(this.#heard, 0))
      Atomics.wait(this.#heard, 0, heard, 5_000);
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
