import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where Debian and others put libfaketime. */
const folders = [
  ...(existsSync('/usr/lib') ? readdirSync('/usr/lib').map((name) => `/usr/lib/${name}/faketime`) : []),
  '/usr/lib/faketime',
  '/usr/local/lib/faketime',
];
const library: string | undefined = folders
  .map((folder) => join(folder, 'libfaketimeMT.so.1'))
  .find((path) => existsSync(path));

/** The surroundings of a program whose wall clock `jumpTo` moves; its monotonic time goes on as it does. */
export class FakeTime implements Disposable {
  readonly env: NodeJS.ProcessEnv;
  readonly #folder: string = mkdtempSync(join(tmpdir(), 'faketime-'));

  private constructor() {
    const file = join(this.#folder, 'offset');
    writeFileSync(file, '+0s\n');
    this.env = {
      ...process.env,
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
  }

  /** Or what keeps this machine from it. */
  static async make(): Promise<FakeTime | string> {
    if (library === undefined) return 'no libfaketime here';
    const time = new FakeTime();
    const script = `
      const { writeFileSync } = require('node:fs');
      const before = Date.now();
      writeFileSync(process.env.FAKETIME_TIMESTAMP_FILE, '+3600s');
      const jumped = Date.now() - before;
      writeFileSync(process.env.FAKETIME_TIMESTAMP_FILE, '+0s');
      process.exitCode = Math.abs(jumped - 3600e3) < 60e3 ? 0 : 1;`;
    try {
      await run(process.execPath, ['-e', script], { env: time.env });
      return time;
    } catch (error) {
      time[Symbol.dispose]();
      return `libfaketime does not work here: ${(error as Error).message.split('\n', 1)[0]}`;
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}

/** Whether this process was started with such an environment. */
export const jumps: boolean = process.env.FAKETIME_TIMESTAMP_FILE !== undefined;

/** Moves the wall clock of this process to so many s from what it really is. */
export function jumpTo(offset: number): void {
  writeFileSync(process.env.FAKETIME_TIMESTAMP_FILE as string, `${offset < 0 ? '' : '+'}${offset}s\n`);
}
