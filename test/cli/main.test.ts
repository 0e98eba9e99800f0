import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const packageJson = fileURLToPath(new URL('../../package.json', import.meta.url));
const { version } = JSON.parse(readFileSync(packageJson, 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'simulate-'));
const list = join(folder, 'list.json');
writeFileSync(list, '[1]');
const nothing = join(folder, 'nothing.txt');
writeFileSync(nothing, '0\n\n');

function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    );
  });
}

describe('steersman', () => {
  test('says its version', async () => {
    expect(await run('--version')).toEqual({ code: 0, out: `${version}\n`, err: '' });
  });

  test.each([
    ['a command that is none', ['bogus'], 'no command "bogus"'],
    ['an option that is none', ['simulate', '--bogus'], "Unknown option '--bogus'"],
    ['a scenario that is none', ['simulate', 'bogus'], 'no scenario "bogus"'],
    ['two numbers for one', ['simulate', '--pods', '1,2'], '--pods: "1,2" is not a number'],
    ['no number', ['simulate', '--speeds', '1,,2'], '--speeds: "" is not a number'],
    ['a file that is none', ['simulate', '--file', 'none.json'], '--file none.json: ENOENT'],
    ['a file that is no JSON', ['simulate', '--file', main], `--file ${main}: Unexpected token`],
    ['a file that is no object', ['simulate', '--file', list], `--file ${list}: options must be an object`],
    [
      'a file with more than a scenario',
      ['simulate', '--file', packageJson],
      `--file ${packageJson}: unknown option name`,
    ],
    ['a file without a time', ['simulate', '--service', nothing], `${nothing} holds no time in ms above 0`],
    ['what the simulator refuses', ['simulate', '--clients', '0'], 'steersman simulate: option clients must'],
    [
      'times that would take hours',
      ['simulate', '--mean', '1e9'],
      'requests × mean service time ÷ least speed must be at most',
    ],
    ['no service', ['rbac'], 'at least one service is needed'],
    ['a service that is none', ['rbac', 'a.b.c.d'], 'a.b.c.d is not the name of a Service'],
    ['a namespace that is none', ['rbac', 'a', '--namespace', 'b: c'], '--namespace "b: c" has a label'],
    ['an account that is none', ['rbac', 'a', '--account', 'b/'], '--account "b/" is empty'],
    ['no name', ['resolve'], 'one name is needed'],
  ])('exits with 2 for %s', async (_, args, message) => {
    const { code, out, err } = await run(...args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(message);
  });

  test('simulate says what did not happen, because all calls had ended', async () => {
    const { code, out, err } = await run('simulate', 'stall', '--requests', '2000', '--policies', 'random');
    expect([code, out.split('\n').length]).toEqual([0, 5]);
    expect(err).toBe(
      'steersman simulate: no stall at 60000 ms: the last call began within 3 s; give more --requests\n',
    );
  });
});
