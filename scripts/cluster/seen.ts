import type { Endpoint } from '../../src/core/endpoint.ts';
import { ResolveError } from '../../src/core/errors.ts';
import type { ResolverListener, Watch } from '../../src/core/resolver.ts';
import { parseTarget } from '../../src/core/target.ts';
import { type KubernetesOptions, kubernetes } from '../../src/resolvers/kubernetes.ts';

/** ms for a change to be seen: real clusters take some tens. */
const patience = 15_000;

/** What a watch has told, and waiting for it. */
export class Seen implements ResolverListener {
  readonly sets: (readonly Endpoint[])[] = [];
  readonly errors: Error[] = [];
  readonly #watch: Watch;
  #look: (() => void) | undefined;

  constructor(target: string, options: KubernetesOptions, port?: string) {
    this.#watch = kubernetes(options).watch(parseTarget(target, port), this);
  }

  onEndpoints(endpoints: readonly Endpoint[]): void {
    this.sets.push(endpoints);
    this.#look?.();
  }

  onError(error: Error): void {
    this.errors.push(error);
    this.#look?.();
  }

  get addresses(): string[] {
    return (this.sets.at(-1) ?? []).map(({ address, port }) => `${address}:${port}`).sort();
  }

  /** Resolves when the condition holds. */
  until(what: string, holds: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#look = undefined;
        const last = this.sets.at(-1);
        reject(
          new Error(
            `${what} was not seen within ${patience / 1000} s; the last set: ${last === undefined ? 'none' : last.length > 10 ? `${last.length} endpoints` : `[${this.addresses.join(', ')}]`}; errors: ${this.errors.map(({ message }) => message).join('; ') || 'none'}`,
          ),
        );
      }, patience);
      this.#look = () => {
        if (!holds()) return;
        this.#look = undefined;
        clearTimeout(timer);
        resolve();
      };
      this.#look();
    });
  }

  /** Resolves when exactly these are the set. */
  is(...expected: readonly string[]): Promise<void> {
    const wanted = [...expected].sort().join();
    return this.until(
      `[${expected.join(', ')}]`,
      () => this.sets.length > 0 && this.addresses.join() === wanted,
    );
  }

  /** Codes of the errors told, as the watch gave them. */
  get codes(): unknown[] {
    return this.errors.map((error) => {
      const { code } = (error instanceof ResolveError ? error.cause : error) as { code?: unknown };
      return code;
    });
  }

  error(code: string): Promise<void> {
    return this.until(`the error ${code}`, () => this.codes.includes(code));
  }

  close(): Promise<void> {
    return this.#watch.close();
  }
}
