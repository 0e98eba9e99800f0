import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';

const folder = join(import.meta.dirname, '../examples');
const sources = readdirSync(folder).filter((file) => file.endsWith('.ts'));

/** What each example prints. Those not named here only have to end without an error. */
const printed: Readonly<Record<string, RegExp>> = {
  'wrap-fetch.ts': /^\d+ calls, \d+ calls, \d+ calls$/,
  'one-client.ts': /^200\n200 1 pod used$/,
  'global-dispatcher.ts': /^200\n200 1 \+ 1 calls$/,
  'file-resolver.ts': /^2 endpoints$/,
  'grpc-stream.ts': /^1,1\n(?:0,1|1,0)$/,
  'websocket.ts': /^string (?:1 0|0 1)\nstring 1 1\ntrue$/,
};

afterEach(() => {
  vi.restoreAllMocks();
});

describe('examples', () => {
  it.each(sources)('%s is short', (file) => {
    expect(readFileSync(join(folder, file), 'utf8').trimEnd().split('\n').length).toBeLessThan(40);
  });

  it.each(sources.filter((file) => !file.endsWith('.test.ts')))('%s runs', async (file) => {
    const lines: string[] = [];
    vi.spyOn(console, 'log').mockImplementation((...args: unknown[]) => {
      lines.push(args.join(' '));
    });
    await import(join(folder, file));
    expect(lines.join('\n')).toMatch(printed[file] ?? /^/);
  });
});
