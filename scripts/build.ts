/**
 * Builds dist: declarations with their maps, and the entry points of the package, each bundled with what it shares with
 * the others in chunks, since loading a hundred small files costs more than running them.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, rmSync } from 'node:fs';
import { rolldown } from 'rolldown';

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly default: string }>>;
  readonly bin: Readonly<Record<string, string>>;
}

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest;
const published = [
  ...Object.values(manifest.exports).map((entry) => (typeof entry === 'string' ? entry : entry.default)),
  ...Object.values(manifest.bin),
].filter((path) => path.endsWith('.js'));
/** Files of their own, because what they do depends on when they are evaluated. */
const ordered = ['./dist/check-node.js', './dist/undici/save.js'];

/** What `steersman` itself loads: in one file, since each file costs as much as running a tenth of it all. */
const library = /\/compiled\/(?:balancers|client|core|health|resolvers|undici\/(?!save))/;

/** What tsc makes of the sources, for the oldest Node that is supported; not published. */
const compiled = 'dist/compiled';

const input = Object.fromEntries(
  [...ordered, ...published].map((path) => {
    const name = path.replace(/^\.\/dist\/(.*)\.js$/, '$1');
    return [name, `${compiled}/${name}.js`];
  }),
);

rmSync('dist', { recursive: true, force: true });
const options = ['--outDir', compiled, '--declarationDir', 'dist'];
execFileSync('tsc', ['-p', 'tsconfig.build.json', ...options], { stdio: 'inherit' });
const bundle = await rolldown({
  input,
  platform: 'node',
  external: (id) => !id.startsWith('.') && !id.startsWith('/') && !id.startsWith(compiled),
  treeshake: false,
  preserveEntrySignatures: 'allow-extension',
  plugins: [
    {
      name: 'source maps back to the sources',
      load: (id) =>
        id.endsWith('.js')
          ? { code: readFileSync(id, 'utf8'), map: readFileSync(`${id}.map`, 'utf8') }
          : null,
    },
  ],
});
await bundle.write({
  dir: 'dist',
  format: 'esm',
  sourcemap: true,
  entryFileNames: '[name].js',
  chunkFileNames: 'chunks/[name].js',
  codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: 'library', test: library }] },
});
await bundle.close();
rmSync(compiled, { recursive: true });
for (const path of Object.values(manifest.bin)) chmodSync(path, 0o755);
