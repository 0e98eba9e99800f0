#!/usr/bin/env node
import '../check-node.ts';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from './command.ts';

/** Loaded when asked for, so that no command pays for another's imports. */
const commands: Readonly<Record<string, () => Promise<{ readonly command: Command }>>> = {
  demo: () => import('./demo.ts'),
  rbac: () => import('./rbac.ts'),
  resolve: () => import('./resolve.ts'),
  simulate: () => import('./simulate.ts'),
};

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    print('usage: steersman <command> [options]\n');
    for (const [word, load] of Object.entries(commands))
      print(`  ${word.padEnd(10)} ${(await load()).command.summary}`);
    print('\n`steersman <command> --help` tells more.');
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === '-v') {
    const text = await readFile(join(import.meta.dirname, '../../package.json'), 'utf8');
    print(JSON.parse(text).version);
    return 0;
  }
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (load === undefined) {
    process.stderr.write(
      `steersman: no command ${JSON.stringify(name)}: known are ${Object.keys(commands).join(', ')}\n`,
    );
    return 2;
  }
  const { command } = await load();
  if (args.includes('--help') || args.includes('-h')) {
    print(command.usage);
    return 0;
  }
  try {
    return await command.run(args);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // What a factory of that name says begins with it.
    process.stderr.write(`steersman ${message.startsWith(`${name}: `) ? '' : `${name}: `}${message}\n`);
    // The kinds of error that wrong arguments are, here as in every factory.
    return error instanceof TypeError || error instanceof RangeError ? 2 : 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
