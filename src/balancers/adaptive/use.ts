import type { Outcome, Release } from '../../core/outcome.ts';
import type { View } from '../roster.ts';
import type { AdaptiveMember } from './member.ts';

/** One use of a backend. The object and its release are used again for later uses. */
export class Use<V extends View> {
  member: AdaptiveMember<V>;
  start = 0;
  /** Calls in flight when it began, itself included. */
  seen = 1;
  /** How long we had been blocked in all when it began, in ms. */
  stalled = 0;
  /** Begun and not ended. */
  open = false;
  /** The next of those that have ended. */
  next: Use<V> | undefined = undefined;
  #linked = false;
  #older: Use<V> | undefined = undefined;
  #newer: Use<V> | undefined = undefined;
  readonly release: Release;

  constructor(member: AdaptiveMember<V>, end: (use: Use<V>, outcome: Outcome) => void) {
    this.member = member;
    this.release = (outcome) => end(this, outcome);
  }

  /** Whether its answer is still awaited. */
  get linked(): boolean {
    return this.#linked;
  }

  link(): void {
    const { member } = this;
    this.#linked = true;
    this.#older = member.newest;
    this.#newer = undefined;
    if (member.newest === undefined) member.oldest = this;
    else member.newest.#newer = this;
    member.newest = this;
  }

  unlink(): void {
    if (!this.#linked) return;
    this.#linked = false;
    const { member } = this;
    if (this.#older === undefined) member.oldest = this.#newer;
    else this.#older.#newer = this.#newer;
    if (this.#newer === undefined) member.newest = this.#older;
    else this.#newer.#older = this.#older;
  }
}
