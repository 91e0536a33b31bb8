/** Imports go from higher to lower layers and rooms. */
import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import semver from 'semver';
import { describe, expect, test } from 'vitest';
import { LAYERS, TEST_FOLDERS } from '../layers.ts';
import { APPS, EXAMPLES, filesOf, importsOf, PACKAGES, read, type Workspace } from '../workspace.ts';

const SCOPE = '@svsm/';

/** Each import of a package or built-in module by the files that match `pattern`: `[file, import]`. */
function outsideImports(workspace: Workspace, pattern: string): [string, string][] {
  return filesOf(workspace, pattern).flatMap((file) =>
    importsOf(workspace, file)
      .filter((name) => !name.startsWith('.'))
      .map((name): [string, string] => [file, packageOf(name)]),
  );
}

/** A room of a package, as `@svsm/sev-snp/formats`, is a part of it. */
function packageOf(imported: string): string {
  return imported.startsWith(SCOPE) ? imported.split('/').slice(0, 2).join('/') : imported;
}

test('the table of layers has a row for every package, below the rows that it imports', () => {
  expect(
    upwardArrows(LAYERS),
    'tools/checks/layers.ts: move these rows below the rows that they import',
  ).toEqual([]);
  expect(Object.keys(LAYERS).sort(), 'tools/checks/layers.ts: one row for each package').toEqual(
    PACKAGES.map(({ name }) => name).sort(),
  );
});

test('turbo builds every package before the checks', () => {
  const { devDependencies } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const names = PACKAGES.map(({ manifest }) => manifest.name).sort();
  expect(Object.keys(devDependencies).sort(), 'set devDependencies of tools/checks to all packages').toEqual(
    names,
  );
});

describe.each(PACKAGES.map((p) => [p.name, p] as const))('packages/%s', (name, workspace) => {
  const imports = outsideImports(workspace, 'src/**/*.ts');
  const { dependencies = {}, devDependencies = {} } = workspace.manifest;

  test('src imports only packages of lower layers, by their names', () => {
    const allowed = LAYERS[name]!.imports.map((other) => SCOPE + other);
    const refused = imports.filter(([, imported]) => !isBuiltin(imported) && !allowed.includes(imported));
    expect(
      refused,
      `${name} may import ${allowed.join(', ') || 'nothing'}. If it needs another layer, take a small interface as a ` +
        'parameter, or move code to a lower layer',
    ).toEqual([]);
  });

  test('src imports every package that its row names', () => {
    const used = new Set(imports.map(([, imported]) => imported));
    const unused = LAYERS[name]!.imports.filter((other) => !used.has(SCOPE + other));
    expect(unused, `tools/checks/layers.ts: ${name} does not import these`).toEqual([]);
  });

  test('src imports no Node module, except in rooms for Node', () => {
    const refused = imports.filter(
      ([file, imported]) => isBuiltin(imported) && LAYERS[name]!.rooms?.[roomOf(file)]?.platform !== 'node',
    );
    expect(refused, 'src also runs in browsers, Deno and Bun: take these as parameters').toEqual([]);
  });

  test('package.json depends on exactly the packages that src imports', () => {
    const used = [...new Set(imports.map(([, imported]) => imported).filter((i) => !isBuiltin(i)))].sort();
    expect(Object.keys(dependencies).sort(), `set dependencies to: ${used.join(', ') || 'none'}`).toEqual(
      used,
    );
  });

  test('package.json accepts the versions of siblings in this repository', () => {
    for (const [sibling, range] of Object.entries(dependencies)) {
      const version = PACKAGES.find(({ manifest }) => manifest.name === sibling)?.manifest.version ?? '';
      expect(range, `${sibling}: write ^ and a version, as changesets does`).toMatch(/^\^\d/);
      expect(semver.satisfies(version, range), `${sibling} is ${version} here, so write ^${version}`).toBe(
        true,
      );
    }
  });

  test('tests and benches import only siblings that turbo builds before them', () => {
    const known = { ...dependencies, ...devDependencies };
    const refused = outsideImports(workspace, '{test,bench}/**/*.ts')
      .filter(([, imported]) => imported.startsWith(SCOPE))
      .filter(([, imported]) => !(imported in known) && imported !== workspace.manifest.name);
    expect(refused, 'add these packages to devDependencies').toEqual([]);
  });

  test('imports of src have no cycle', () => {
    const edges = new Map<string, string[]>();
    for (const [file, target] of insideImports(workspace)) {
      edges.set(file, [...(edges.get(file) ?? []), target]);
    }
    expect(findCycle(edges)?.join(' → '), 'move the shared code to another file').toBeUndefined();
  });
});

const ROOMY = PACKAGES.filter(({ name }) => LAYERS[name]?.rooms !== undefined);

describe.each(ROOMY.map((p) => [p.name, p] as const))('rooms of packages/%s', (name, workspace) => {
  const rooms = LAYERS[name]!.rooms!;

  test('the table has a row for every folder of src, below the rows that it imports', () => {
    expect(
      upwardArrows(rooms),
      'tools/checks/layers.ts: move these rows below the rows that they import',
    ).toEqual([]);
    const files = filesOf(workspace, 'src/**/*.ts').filter((file) => file !== 'src/index.ts');
    expect([...new Set(files.map(roomOf))].sort(), 'tools/checks/layers.ts: one row for each folder').toEqual(
      Object.keys(rooms).sort(),
    );
  });

  test('each room imports exactly the rooms that its row names', () => {
    const used = new Map(Object.keys(rooms).map((room) => [room, new Set<string>()]));
    for (const [file, target] of insideImports(workspace)) {
      if (file !== 'src/index.ts' && roomOf(file) !== roomOf(target))
        used.get(roomOf(file))?.add(roomOf(target));
    }
    const arrows = Object.fromEntries([...used].map(([room, targets]) => [room, [...targets].sort()]));
    const rows = Object.fromEntries(
      Object.entries(rooms).map(([room, { imports }]) => [room, [...imports].sort()]),
    );
    expect(
      arrows,
      'received: the imports of the files; expected: the rows of tools/checks/layers.ts',
    ).toEqual(rows);
  });

  test('tests are in the room of the file that they test', () => {
    const sources = new Map(
      filesOf(workspace, 'src/**/*.ts').map((file) => [posix.basename(file, '.ts'), roomOf(file)]),
    );
    const misplaced = filesOf(workspace, 'test/**/*.ts').filter((file) => {
      const folder = roomOf(file);
      if (TEST_FOLDERS.includes(folder)) return false;
      return !(folder in rooms) || (sources.get(nounOf(file)) ?? folder) !== folder;
    });
    expect(misplaced, `move these to test/<room>/, or to test/{${TEST_FOLDERS.join(',')}}/`).toEqual([]);
  });

  test('helpers of tests are in test/support', () => {
    const misplaced = filesOf(workspace, 'test/**/*.ts').filter(
      (file) => (roomOf(file) === 'support') === /\.(test|test-d|deep)\.ts$/.test(file),
    );
    expect(misplaced, 'move helpers to test/support/, and tests out of it').toEqual([]);
  });

  test('DESIGN.md has a row for each room, with its charter', () => {
    const text = read(workspace, 'DESIGN.md');
    const missing = Object.entries(rooms)
      .map(([room, { charter, imports }]) => `| \`${room}\` | ${charter} | ${imports.join(', ') || '–'} |`)
      .filter((row) => !text.includes(row));
    expect(missing, `packages/${name}/DESIGN.md: add these rows`).toEqual([]);
  });
});

describe.each([
  ...EXAMPLES.map((e) => [`examples/${e.name}`, e, PACKAGES] as const),
  ...APPS.map((a) => [`apps/${a.name}`, a, [...PACKAGES, ...EXAMPLES]] as const),
])('%s', (name, workspace, others) => {
  const { dependencies = {}, devDependencies = {} } = workspace.manifest;

  test('imports packages by their names', () => {
    const names = others.map(({ manifest }) => manifest.name);
    for (const file of filesOf(workspace, '**/*.{ts,tsx}')) {
      for (const imported of importsOf(workspace, file)) {
        const inside =
          imported.startsWith('.') && !posix.join(posix.dirname(file), imported).startsWith('..');
        const allowed =
          inside ||
          isBuiltin(imported) ||
          names.some((name) => `${imported}/`.startsWith(`${name}/`)) ||
          !/svsm|packages/.test(imported);
        expect(allowed, `${name}/${file} imports '${imported}': import a package by its name`).toBe(true);
      }
    }
  });

  test('package.json names every package that it imports, which turbo builds first', () => {
    const known = { ...dependencies, ...devDependencies };
    const unknown = outsideImports(workspace, '{src,test}/**/*.{ts,tsx}').filter(
      ([, imported]) => imported.startsWith(SCOPE) && !(imported in known),
    );
    expect(unknown, 'add these packages to dependencies').toEqual([]);
  });
});

/** The rows of a table that import a row below them, or a row that does not exist. */
function upwardArrows(table: Readonly<Record<string, { imports: readonly string[] }>>): string[] {
  const rows = Object.keys(table);
  return Object.entries(table).flatMap(([name, { imports }], row) =>
    imports.filter((other) => !rows.slice(0, row).includes(other)).map((other) => `${name} → ${other}`),
  );
}

/** Each import of a file of `src` by another: `[file, target]`. */
function insideImports(workspace: Workspace): [string, string][] {
  return filesOf(workspace, 'src/**/*.ts').flatMap((file) =>
    importsOf(workspace, file)
      .filter((imported) => imported.startsWith('.'))
      .map((imported): [string, string] => [file, posix.join(posix.dirname(file), imported)]),
  );
}

/** `walk` for `src/walk/tlb.ts` and `test/walk/tlb.test.ts`. */
function roomOf(file: string): string {
  return file.split('/').length > 2 ? file.split('/')[1]! : '';
}

/** `tlb` for `test/walk/tlb.laws.test.ts`. */
function nounOf(file: string): string {
  return posix.basename(file).split('.')[0]!;
}

/** One cycle of files, which ends with its first file again, or `undefined`. */
function findCycle(edges: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, path: string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    done.add(file);
    for (const next of edges.get(file) ?? []) {
      const cycle = visit(next, [...path, file]);
      if (cycle) return cycle;
    }
    return undefined;
  };
  for (const file of edges.keys()) {
    const cycle = visit(file, []);
    if (cycle) return cycle;
  }
  return undefined;
}
