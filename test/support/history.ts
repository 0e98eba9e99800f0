import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '../../src/client/client.ts';
import type { Attempt } from '../../src/core/errors.ts';

/** What the caller of one call was told. */
export interface Entry {
  readonly id: string;
  readonly method: 'GET' | 'POST';
  /** ms */
  readonly took: number;
  /** `ok`, a status, or an error's code. */
  readonly told: string;
  readonly error?: Error & { attempts?: readonly Attempt[] };
}

/** The difference between what callers were told and what was done. */
export interface Verdict {
  readonly calls: number;
  readonly failed: { readonly GET: number; readonly POST: number };
  /** Failed POSTs of which nobody can say whether they were executed. */
  readonly ambiguous: number;
  /** By what the caller was told. */
  readonly told: Readonly<Record<string, number>>;
  /** POSTs that were executed more than once: must be none. */
  readonly twice: readonly string[];
  /** POSTs that were answered and not executed: must be none. */
  readonly missing: readonly string[];
  /** Calls that were surely not executed by what the caller was told, and were: must be none. */
  readonly wronglyUnsent: readonly string[];
  /** What some of those that failed were told, and what had been tried. */
  readonly examples: readonly string[];
  /** ms the slowest call took. */
  readonly slowest: number;
}

let histories = 0;

/** Every call of a run and what came of it; pods append what they execute to `log`. */
export class History implements Disposable {
  readonly log: string;
  readonly entries: Entry[] = [];
  /** Calls that have begun and not ended. */
  readonly pending: Set<string> = new Set();
  readonly #folder: string;
  readonly #prefix: string = `h${++histories}`;
  #calls = 0;

  constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), 'history-'));
    this.log = join(this.#folder, 'executed');
    writeFileSync(this.log, '');
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }

  /** One call; never rejects. */
  async call(client: Client, method: 'GET' | 'POST'): Promise<Entry> {
    const id = `${this.#prefix}-${++this.#calls}`;
    const started = performance.now();
    this.pending.add(id);
    let told: string;
    let error: Error | undefined;
    try {
      const { statusCode, body } = await client.request({
        path: `/${id}`,
        method,
        ...(method === 'POST' ? { body: 'x' } : {}),
      });
      const text = await body.text();
      told = statusCode === 200 && text === 'ok' ? 'ok' : String(statusCode);
    } catch (caught) {
      error = caught as Error;
      told = (error as { code?: string }).code ?? error.name;
    }
    this.pending.delete(id);
    const entry: Entry = {
      id,
      method,
      took: performance.now() - started,
      told,
      ...(error === undefined ? {} : { error }),
    };
    this.entries.push(entry);
    return entry;
  }

  /** Compares with what was executed; to be asked when every pod has ended. */
  check(): Verdict {
    const executed = new Map<string, number>();
    for (const line of readFileSync(this.log, 'utf8').split('\n')) {
      const id = line.slice(line.indexOf('/') + 1);
      if (id !== '') executed.set(id, (executed.get(id) ?? 0) + 1);
    }
    const failed = { GET: 0, POST: 0 };
    const told: Record<string, number> = {};
    const twice: string[] = [];
    const missing: string[] = [];
    const wronglyUnsent: string[] = [];
    const seen = new Set<string>();
    const examples: string[] = [];
    let ambiguous = 0;
    let slowest = 0;
    for (const entry of this.entries) {
      const times = executed.get(entry.id) ?? 0;
      told[entry.told] = (told[entry.told] ?? 0) + 1;
      slowest = Math.max(slowest, entry.took);
      if (entry.told !== 'ok') {
        failed[entry.method]++;
        const kind = `${entry.method} ${entry.told}`;
        if (entry.method === 'GET' || !seen.has(kind)) examples.push(describe(entry));
        seen.add(kind);
      }
      if (entry.told === 'ok' && times === 0) missing.push(entry.id);
      if (entry.method === 'GET') continue;
      if (times > 1) twice.push(entry.id);
      if (entry.error === undefined) continue;
      const unsure = entry.error.attempts?.some(({ class: failure }) => failure !== 'unsent') ?? false;
      if (unsure) ambiguous++;
      else if (times > 0) wronglyUnsent.push(entry.id);
    }
    return {
      calls: this.entries.length,
      failed,
      ambiguous,
      told,
      twice,
      missing,
      wronglyUnsent,
      examples: examples.slice(0, 20),
      slowest,
    };
  }
}

function describe({ method, told, took, error }: Entry): string {
  const attempts = error?.attempts?.map(
    (attempt) => `${attempt.endpoint} ${attempt.phase} ${attempt.class} ${attempt.code} ${attempt.ms} ms`,
  );
  return `${method} ${told} after ${Math.round(took)} ms: ${attempts?.join(', then ') ?? 'an answer'}`;
}
