import type { Clock } from '../../core/clock.ts';
import { Tally } from './tally.ts';

/** One in so many calls is a POST. */
const postEvery = 4;

/** The app of one side: calls the service again and again, and counts what becomes of it. */
export class Caller {
  readonly all: Tally = new Tally();
  /** By the name of the pod that answered. */
  readonly pods: Map<string, Tally> = new Map();
  /** Of the current act. */
  act: Tally = new Tally();
  /** What calls failed of: codes and statuses, with their count. */
  readonly reasons: Map<string, number> = new Map();
  readonly #fetch: typeof globalThis.fetch;
  readonly #url: string;
  readonly #clock: Clock;
  readonly #pending = new Set<Promise<void>>();
  #made = 0;

  constructor(fetch: typeof globalThis.fetch, url: string, clock: Clock) {
    this.#fetch = fetch;
    this.#url = url;
    this.#clock = clock;
  }

  /** One call that does not count. */
  async warmUp(): Promise<void> {
    try {
      await (await this.#fetch(this.#url)).text();
    } catch (cause) {
      throw new Error(`the first call of ${this.#url} failed: ${reasonOf(cause)}`, { cause });
    }
  }

  /** Begins one call; what comes of it is counted when it is there. */
  call(): void {
    const call = this.#call(++this.#made).finally(() => this.#pending.delete(call));
    this.#pending.add(call);
  }

  /** Resolves when every call has come to its end. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending);
  }

  async #call(id: number): Promise<void> {
    const act = this.act;
    const began = this.#clock.now();
    // A key makes a POST safe to repeat: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
    const post = { method: 'POST', body: `order ${id}`, headers: { 'idempotency-key': `demo-${id}` } };
    let pod: string | undefined;
    let reason: string | undefined;
    try {
      const response = await this.#fetch(`${this.#url}/users/${id}`, id % postEvery === 0 ? post : {});
      await response.text();
      pod = response.headers.get('x-pod') ?? undefined;
      if (!response.ok) reason = `status ${response.status}`;
    } catch (error) {
      reason = reasonOf(error);
    }
    const now = this.#clock.now();
    for (const tally of [this.all, act, this.#tallyOf(pod)])
      tally?.add(now, now - began, reason !== undefined);
    if (reason !== undefined) this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
  }

  #tallyOf(pod: string | undefined): Tally | undefined {
    if (pod === undefined) return undefined;
    let tally = this.pods.get(pod);
    if (tally === undefined) this.pods.set(pod, (tally = new Tally()));
    return tally;
  }
}

function reasonOf(error: unknown): string {
  const { cause = error } = error as { cause?: unknown };
  const { code, message } = cause as { code?: unknown; message?: unknown };
  return String(code ?? message ?? cause);
}
