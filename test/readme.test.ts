import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
};

const blocks = (language: string): string[] =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    ([, code]) => code ?? '',
  );

describe('README', () => {
  it('has code that compiles', () => {
    const code = blocks('ts');
    expect(code.length).toBeGreaterThan(5);
    const folder = mkdtempSync(join(root, 'test', '.readme-'));
    try {
      code.forEach((block, i) => {
        writeFileSync(join(folder, `block-${i + 1}.ts`), block);
      });
      const config = {
        extends: join(root, 'tsconfig.json'),
        compilerOptions: {
          isolatedDeclarations: false,
          declaration: false,
          rootDir: root,
          paths: {
            steersman: [join(root, 'src/index.ts')],
            'steersman/testing': [join(root, 'src/testing/index.ts')],
          },
        },
        include: [join(folder, '*.ts')],
      };
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
      let output = '';
      try {
        execFileSync(join(root, 'node_modules/.bin/tsc'), ['--noEmit', '-p', folder], { encoding: 'utf8' });
      } catch (error) {
        output = (error as { stdout: string }).stdout;
      }
      expect(output).toBe('');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('shows the balancer that is tested among the examples', () => {
    const example = readFileSync(join(root, 'examples/fastest.ts'), 'utf8');
    expect(readme).toContain(example.slice(example.indexOf('/** ')));
  });

  it('names no command that does not exist', async () => {
    const lines = blocks('sh').flatMap((block) => block.trim().split('\n'));
    const words = [
      ...lines,
      ...[...readme.matchAll(/`(npx? [^`]+)`/g)].map(([, command]) => command ?? ''),
    ].join(' && ');
    for (const [, script] of words.matchAll(/npm run ([\w:]+)/g))
      expect(Object.keys(scripts)).toContain(script);
    const known = execFileSync(process.execPath, [join(root, 'src/cli/main.ts'), '--help'], {
      encoding: 'utf8',
    });
    const commands = [...words.matchAll(/npx steersman (\w+)/g)].map(([, command]) => command as string);
    expect(commands.length).toBeGreaterThan(1);
    for (const command of commands) expect(known).toContain(`  ${command} `);
  });

  it('links to files that exist', () => {
    for (const [, path] of readme.matchAll(/\]\((?!http)([^)#]+)\)/g)) {
      expect(() => readFileSync(join(root, path ?? ''))).not.toThrow(/ENOENT/);
    }
  });
});
