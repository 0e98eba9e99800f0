import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const src = resolve(import.meta.dirname, '../src');

/** Which folders a folder may import besides itself. Files at the top of src count as folder `.`. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  '.': ['core', 'resolvers', 'balancers', 'client'],
  core: [],
  undici: [],
  resolvers: ['core', 'undici'],
  balancers: ['core'],
  health: ['core'],
  testing: ['core', 'undici'],
  client: ['core', 'health', 'undici'],
  adapters: ['core', 'client', 'undici'],
  cli: ['core', 'resolvers', 'balancers', 'client', 'testing'],
};

/** The one file of the client that knows the resolvers and balancers. */
const compositionRoot = 'client/defaults.ts';

interface Import {
  readonly from: string;
  readonly to: string;
  /** Types are erased: they make no cycle. */
  readonly value: boolean;
}

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
const statements = /^\s*(?:import|export)\s(type\s)?(?:[^'";]*?\sfrom\s*)?'([^']+)'|import\('([^']+)'\)/gm;

const imports: Import[] = files.flatMap((from) =>
  [...readFileSync(join(src, from), 'utf8').matchAll(statements)].flatMap(([, type, fixed, dynamic]) => {
    const to = fixed ?? dynamic ?? '';
    if (!to.startsWith('.')) return [];
    return [{ from, to: relative(src, resolve(src, dirname(from), to)), value: type === undefined }];
  }),
);

const folder = (file: string): string => (file.includes('/') ? file.slice(0, file.indexOf('/')) : '.');

describe('layering', () => {
  it('is read from every file', () => {
    expect(files.length).toBeGreaterThan(20);
    expect(imports.length).toBeGreaterThan(files.length);
  });

  it('has no arrow but the allowed ones', () => {
    const wrong = imports.filter(({ from, to }) => {
      if (to === 'check-node.ts') return false;
      const [own, other] = [folder(from), folder(to)];
      if (own === other) return false;
      if (from === compositionRoot && (other === 'resolvers' || other === 'balancers')) return false;
      return !arrows[own]?.includes(other);
    });
    expect(wrong).toEqual([]);
  });

  it('imports index.ts from nowhere', () => {
    expect(imports.filter(({ to }) => to === 'index.ts' || to === 'testing/index.ts')).toEqual([]);
  });

  it('has no cycles', () => {
    const edges = new Map<string, string[]>();
    for (const { from, to, value } of imports) if (value) edges.set(from, [...(edges.get(from) ?? []), to]);
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) {
        cycles.push([...path.slice(path.indexOf(file)), file].join(' → '));
        return;
      }
      if (done.has(file)) return;
      for (const to of edges.get(file) ?? []) visit(to, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it('takes time and randomness from one file', () => {
    const impure = /\b(?:Math\.random|Date\.now|performance\.now|setTimeout|setInterval)\b/;
    const allowed = new Set(['core/clock.ts', compositionRoot]);
    const users = files.filter((file) => {
      if (allowed.has(file) || folder(file) === 'cli' || /^testing\/fake-|-suite\.ts$/.test(file))
        return false;
      return readFileSync(join(src, file), 'utf8')
        .split('\n')
        .some((line) => impure.test(line) && !/^\s*(?:\/?\*|\/\/)/.test(line));
    });
    expect(users).toEqual([]);
  });

  it('reads the wall clock, which may jump, for dates only', () => {
    const dates = [
      // HTTP dates in Retry-After
      compositionRoot,
      // whether a client certificate has expired, to say so in an error
      'resolvers/kubernetes/refusals.ts',
      // what is printed, and creationTimestamp
      'cli/resolve.ts',
      'testing/fake-cluster/objects.ts',
    ];
    const users = files.filter((file) =>
      /\bDate\.now\b|\bnew Date\(\)|\bprocess\.hrtime\b/.test(readFileSync(join(src, file), 'utf8')),
    );
    expect(users.sort()).toEqual(dates.sort());
  });

  it('imports undici for its values in one place', () => {
    const users = files.filter(
      (file) =>
        folder(file) !== 'undici' &&
        /^\s*(?:import|export)\s(?!type\b)[^;]*'undici'/m.test(readFileSync(join(src, file), 'utf8')),
    );
    expect(users).toEqual([]);
  });

  it('keeps the types of the Kubernetes client out of its own: 900 files that every user would compile', () => {
    const users = files.filter((file) =>
      /'@kubernetes\/client-node'/.test(readFileSync(join(src, file), 'utf8')),
    );
    expect(users.sort()).toEqual(['resolvers/kubernetes/config.ts', 'resolvers/kubernetes/kubeconfig.ts']);
    const reached = imports.filter(({ to, value }) => !value && users.includes(to)).map(({ from }) => from);
    expect(reached.filter((from) => !from.startsWith('resolvers/kubernetes/'))).toEqual([]);
  });

  it('loads the Kubernetes client only when a cluster is used', () => {
    const users = files.filter((file) =>
      /^\s*(?:import|export)\s(?!type\b)[^;]*'@kubernetes\/client-node'/m.test(
        readFileSync(join(src, file), 'utf8'),
      ),
    );
    expect(users).toEqual([]);
  });
});
