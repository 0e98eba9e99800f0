import type { Endpoint } from '../../src/core/endpoint.ts';
import { FakeResolver } from '../../src/testing/fake-resolver.ts';
import { FaultProxy } from './fault-proxy.ts';
import { pause } from './fleet.ts';
import { PodProcess } from './pod-process.ts';

export interface Member {
  pod: PodProcess;
  proxy: FaultProxy;
  busy: boolean;
}

/** The pods, what stands before them, and what the client is told of them. */
export class Arena implements AsyncDisposable {
  readonly members: Set<Member> = new Set();
  readonly resolver: FakeResolver = new FakeResolver();
  readonly #log: string;
  readonly #gone: Promise<unknown>[] = [];

  constructor(log: string) {
    this.#log = log;
  }

  async add(): Promise<Member> {
    const pod = await this.#pod();
    const member = { pod, proxy: await FaultProxy.start(pod.endpoint), busy: false };
    this.members.add(member);
    return member;
  }

  tell(without?: Member): void {
    const endpoints: Endpoint[] = [];
    for (const member of this.members) if (member !== without) endpoints.push(member.proxy.endpoint);
    this.resolver.set(endpoints);
  }

  /** Another pod in the place of one that is dead. */
  async replace(member: Member): Promise<void> {
    await this.add();
    this.members.delete(member);
    this.tell();
    this.#bury(member);
  }

  /** A pod leaves: told 100 ms later, and ended after its preStop. */
  async retire(member: Member, preStop: number): Promise<void> {
    await this.add();
    this.tell();
    const told = pause(100).then(() => {
      this.members.delete(member);
      this.tell();
    });
    await pause(preStop);
    member.pod.signal('SIGTERM');
    await told;
    this.#bury(member);
  }

  /** Another pod, of another identity, gets the address of one that is gone. */
  async reuse(member: Member): Promise<void> {
    const { port } = member.proxy.endpoint;
    this.members.delete(member);
    await member.proxy[Symbol.asyncDispose]();
    this.#bury(member);
    const pod = await this.#pod();
    this.members.add({ pod, proxy: await FaultProxy.start(pod.endpoint, { port }), busy: false });
    this.tell();
  }

  #pod(): Promise<PodProcess> {
    return PodProcess.start({ kind: 'http', log: this.#log, work: 5, onTerm: 'exit' });
  }

  #bury({ pod, proxy }: Member): void {
    this.#gone.push(pod[Symbol.asyncDispose]().then(() => proxy[Symbol.asyncDispose]()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const member of this.members) this.#bury(member);
    this.members.clear();
    await Promise.all(this.#gone);
  }
}
