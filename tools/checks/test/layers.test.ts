/** Who may import whom. */
import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import semver from 'semver';
import { describe, expect, test } from 'vitest';
import { LAYERS } from '../layers.ts';
import { EXAMPLES, filesOf, importsOf, PACKAGES, type Workspace } from '../workspace.ts';

const SCOPE = '@svsm/';

/** Each import of the files that match `pattern` which is not of a file beside them: `[file, import]`. */
function outsideImports(workspace: Workspace, pattern: string): [string, string][] {
  return filesOf(workspace, pattern).flatMap((file) =>
    importsOf(workspace, file)
      .filter((name) => !name.startsWith('.'))
      .map((name): [string, string] => [file, name]),
  );
}

test('the table of layers goes down only and names every package', () => {
  const rows = Object.keys(LAYERS);
  for (const [row, [name, below]] of Object.entries(LAYERS).entries()) {
    const notBelow = below.filter((other) => !rows.slice(0, row).includes(other));
    expect(notBelow, `tools/checks/layers.ts: list what ${name} imports above ${name}`).toEqual([]);
  }
  const unknown = PACKAGES.map(({ name }) => name).filter((name) => !(name in LAYERS));
  expect(unknown, 'give these packages a row in tools/checks/layers.ts').toEqual([]);
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
    const allowed = LAYERS[name]!.map((other) => SCOPE + other);
    const refused = imports.filter(([, imported]) => !isBuiltin(imported) && !allowed.includes(imported));
    expect(
      refused,
      `${name} may import ${allowed.join(', ') || 'nothing'}. What it needs of another layer it takes as a small ` +
        'interface of its own; what belongs lower, move there',
    ).toEqual([]);
  });

  test('src imports nothing of Node', () => {
    const refused = imports.filter(([, imported]) => isBuiltin(imported));
    expect(refused, 'src runs in browsers, Deno and Bun too: take it as a parameter').toEqual([]);
  });

  test('package.json depends on what src imports, and on nothing else', () => {
    const used = [...new Set(imports.map(([, imported]) => imported).filter((i) => !isBuiltin(i)))].sort();
    expect(Object.keys(dependencies).sort(), `set dependencies to: ${used.join(', ') || 'none'}`).toEqual(
      used,
    );
  });

  test('package.json takes siblings in the version that is here', () => {
    for (const [sibling, range] of Object.entries(dependencies)) {
      const version = PACKAGES.find(({ manifest }) => manifest.name === sibling)?.manifest.version ?? '';
      expect(range, `${sibling}: changesets writes ^ and its version`).toMatch(/^\^\d/);
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

  test('no files of src import each other in a circle', () => {
    const edges = new Map(
      filesOf(workspace, 'src/**/*.ts').map((file) => [
        file,
        importsOf(workspace, file)
          .filter((imported) => imported.startsWith('.'))
          .map((imported) => posix.join(posix.dirname(file), imported)),
      ]),
    );
    expect(findCycle(edges)?.join(' → '), 'move what both need to a file of its own').toBeUndefined();
  });
});

describe.each(EXAMPLES.map((e) => [e.name, e] as const))('examples/%s', (name, workspace) => {
  test('imports packages as their users do', () => {
    const names = PACKAGES.map(({ manifest }) => manifest.name);
    for (const file of filesOf(workspace, '**/*.ts')) {
      for (const imported of importsOf(workspace, file)) {
        const inside =
          imported.startsWith('.') && !posix.join(posix.dirname(file), imported).startsWith('..');
        const allowed =
          inside || isBuiltin(imported) || names.includes(imported) || !/svsm|packages/.test(imported);
        expect(allowed, `examples/${name}/${file} imports '${imported}': import a package by its name`).toBe(
          true,
        );
      }
    }
  });
});

/** One circle of files, its first again at its end, or `undefined`. */
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
