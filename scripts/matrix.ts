/**
 * Packs the package, installs it as a user would, and imports every entry point on each supported Node, by `import`
 * and by `require`; and on one that is too old, to see it refuse. `npm run test:matrix`.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const supported = ['22.19.0', '22.23.3', '24.21.0', '26.10.0'];
const refused = '20.20.2';
/** The `node` package takes its binary from one of these. */
const platform = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;

const root = resolve(import.meta.dirname, '..');
const scratch = mkdtempSync(join(tmpdir(), 'steersman-matrix-'));
const app = join(scratch, 'app');

const npm = (args: readonly string[], cwd: string): string =>
  execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

let passed = 0;
let failed = 0;
const result = (name: string, ok: boolean, detail: string): void => {
  if (ok) passed++;
  else failed++;
  console.log(`${ok ? '✓' : '✗'} ${name}${ok ? '' : `\n${detail}`}`);
};

try {
  npm(['run', 'build'], root);
  const tarball = npm(['pack', '--silent', '--ignore-scripts', '--pack-destination', scratch], root)
    .trim()
    .split('\n')
    .at(-1);
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'app', version: '1.0.0', private: true }));
  const nodes = [...supported, refused].map((version) => `node-${version}@npm:${platform}@${version}`);
  npm(
    ['install', '--no-audit', '--no-fund', '--loglevel=error', join(scratch, tarball ?? ''), ...nodes],
    app,
  );
  cpSync(join(import.meta.dirname, 'smoke.mjs'), join(app, 'smoke.mjs'));
  cpSync(join(import.meta.dirname, 'smoke.cjs'), join(app, 'smoke.cjs'));
  const run = (version: string, file: string, ...flags: readonly string[]) =>
    spawnSync(
      join(app, 'node_modules', `node-${version}`, 'bin', 'node'),
      ['--no-warnings', ...flags, file],
      {
        cwd: app,
        encoding: 'utf8',
        timeout: 60_000,
      },
    );

  for (const version of supported) {
    for (const file of ['smoke.mjs', 'smoke.cjs']) {
      const { status, stdout, stderr } = run(version, file, '--experimental-eventsource');
      result(`Node ${version}: ${file}`, status === 0 && stdout.includes('smoke ok'), `${stdout}${stderr}`);
    }
  }
  for (const file of ['smoke.mjs', 'smoke.cjs']) {
    const { status, stderr } = run(refused, file);
    const sentence = `steersman needs Node 22.19 or newer, and this is Node ${refused}`;
    // Node 20.20 has require(esm) too: both ways meet the same sentence.
    result(`Node ${refused} is refused: ${file}`, status !== 0 && stderr.includes(sentence), stderr);
  }
  const help = spawnSync(
    join(app, 'node_modules', `node-${supported[0]}`, 'bin', 'node'),
    [join(app, 'node_modules/.bin/steersman'), '--help'],
    { encoding: 'utf8' },
  );
  result(
    'the command runs from the package',
    help.status === 0 && help.stdout.includes('demo'),
    help.stdout + help.stderr,
  );
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
