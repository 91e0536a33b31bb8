/** All packages have the same shape: if you know one, you know all. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { fencesOf } from '../fences.ts';
import { LAYERS, MAX_LINES } from '../layers.ts';
import { filesOf, PACKAGES, ROOT, read, type Workspace } from '../workspace.ts';

/** The sections of a README, by which a reader finds the same thing at the same place. */
const SECTIONS = ['In 60 seconds', 'Instead of', 'API by task', 'Errors', 'Cost', 'Limits', 'Requirements'];

const REQUIRED = [
  'package.json',
  'README.md',
  'CHANGELOG.md',
  'LICENSE',
  'src/index.ts',
  'tsconfig.json',
  'tsconfig.test.json',
  'tsup.config.ts',
  'vitest.config.ts',
];

/** The fields that are alike in every package.json. A package may add others. */
function commonManifest(workspace: Workspace) {
  const { name } = workspace;
  return {
    name: `@svsm/${name}`,
    version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    description: expect.stringMatching(/\S.*\.$/),
    keywords: expect.arrayContaining(['svsm']),
    homepage: `https://github.com/svsm-js/svsm/tree/main/packages/${name}#readme`,
    bugs: 'https://github.com/svsm-js/svsm/issues',
    repository: {
      type: 'git',
      url: 'git+https://github.com/svsm-js/svsm.git',
      directory: `packages/${name}`,
    },
    license: 'MIT',
    type: 'module',
    sideEffects: false,
    // For resolvers that do not read `exports`: TypeScript's node10.
    main: './dist/index.js',
    types: './dist/index.d.ts',
    exports: {
      ...Object.fromEntries(doorsOf(workspace).map((door) => [`.${door}`, conditionsOf(door)])),
      './package.json': './package.json',
    },
    files: ['dist', ...(existsSync(join(workspace.folder, 'man')) ? ['man'] : []), 'src', 'CHANGELOG.md'],
    engines: { node: '>=20.19' },
    publishConfig: { access: 'public' },
    scripts: {
      build: 'tsup',
      prepack: 'node ../../tools/run/prepack.ts',
      types: 'tsc && tsc -p tsconfig.test.json',
      test: 'vitest run',
      'test:deep': 'vitest run --mode deep',
      coverage: 'vitest run --coverage',
      bench: 'node ../../tools/run/bench.ts',
    },
  };
}

describe.each(PACKAGES.map((p) => [p.name, p] as const))('packages/%s', (name, workspace) => {
  test.each(REQUIRED)('has %s', (file) => {
    expect(existsSync(join(workspace.folder, file)), `write packages/${name}/${file}`).toBe(true);
  });

  test('package.json has the common fields', () => {
    expect(workspace.manifest).toMatchObject(commonManifest(workspace));
  });

  test('package.json exports the package and each room that has an index.ts, with types first', () => {
    const exports = workspace.manifest['exports'] as Record<string, object>;
    expect(Object.keys(exports)).toEqual([...doorsOf(workspace).map((door) => `.${door}`), './package.json']);
    for (const door of doorsOf(workspace)) {
      expect(Object.keys(exports[`.${door}`] ?? {}), `.${door}`).toEqual(['types', 'default']);
    }
    const rooms = doorsOf(workspace).filter((door) => door !== '');
    const typesVersions = Object.fromEntries(
      rooms.map((door) => [door.slice(1), [`./dist${door}/index.d.ts`]]),
    );
    expect((workspace.manifest['typesVersions'] ?? { '*': {} }) as unknown).toEqual({ '*': typesVersions });
    // A machine without a provenance provider could not publish. In CI, npm's trusted publishing adds the provenance.
    expect(workspace.manifest['publishConfig'] as object).toEqual({ access: 'public' });
  });

  test('README.md has the sections that every README.md has, in their order', () => {
    const sections = read(workspace, 'README.md').match(/^## .*$/gm) ?? [];
    expect(sections).toEqual(SECTIONS.map((section) => `## ${section}`));
  });

  test('README.md installs the packages that its examples import', () => {
    const [, installed = ''] = read(workspace, 'README.md').match(/^npm install (.*)$/m) ?? [];
    const code = fencesOf(`packages/${name}/README.md`).map((fence) => fence.code);
    const imported = code.join('').match(/(?<=from ')@svsm\/[a-z-]+/g) ?? [];
    expect(installed.split(' ').sort()).toEqual([...new Set([`@svsm/${name}`, ...imported])].sort());
  });

  test('LICENSE is the one of the repository', () => {
    expect(read(workspace, 'LICENSE')).toBe(readFileSync(join(ROOT, 'LICENSE'), 'utf8'));
  });

  test('CHANGELOG.md begins with the version of package.json', () => {
    const [title, version] = read(workspace, 'CHANGELOG.md').match(/^#+ .*$/gm) ?? [];
    expect([title, version]).toEqual([`# @svsm/${name}`, `## ${workspace.manifest.version}`]);
  });

  test.each(doorsOf(workspace).map((door) => `src${door}/index.ts`))(
    '%s has a comment about its exports, and re-exports only',
    (file) => {
      expect(read(workspace, file), 'begin with a /** comment about the exports').toMatch(/^\/\*\*/);
      const others = parse(workspace, file)
        .statements.filter((statement) => !isReExport(statement))
        .map((statement) => statement.getText());
      expect(others, 'move these to another file').toEqual([]);
    },
  );

  test('src/index.ts re-exports everything that the rooms export, except those for Node', () => {
    const doors = doorsOf(workspace)
      .slice(1)
      .filter((door) => LAYERS[name]?.rooms?.[door.slice(1)]?.platform === undefined);
    if (doors.length === 0) return;
    const lines = doors.map((door) => `export * from '.${door}/index.ts';`).sort();
    expect(parse(workspace, 'src/index.ts').statements.map((statement) => statement.getText())).toEqual(
      lines,
    );
  });

  test(`no file of src is longer than ${MAX_LINES} lines`, () => {
    const long = filesOf(workspace, 'src/**/*.ts')
      .map((file) => [file, read(workspace, file).split('\n').length - 1] as const)
      .filter(([, lines]) => lines > MAX_LINES);
    expect(long, 'these files hold two nouns: split them').toEqual([]);
  });

  test('every file of src with a public value has its tests', () => {
    const untested = publicFiles(workspace)
      .map((file) => file.replace(/^.*\//, '').replace(/\.ts$/, ''))
      .filter((noun) => !noun.endsWith('error'))
      .filter((noun) => filesOf(workspace, `test/**/${noun}{,.laws}.test.ts`).length === 0);
    expect(untested, 'write test/<name>.test.ts or test/<name>.laws.test.ts for these').toEqual([]);
  });
});

/** The entry points, without the package's name: the empty text, then `/formats` for each room with an index.ts. */
function doorsOf(workspace: Workspace): string[] {
  const rooms = Object.keys(LAYERS[workspace.name]?.rooms ?? {});
  return ['', ...rooms.map((room) => `/${room}`).filter((door) => hasIndex(workspace, door))];
}

function hasIndex({ folder }: Workspace, door: string): boolean {
  return existsSync(join(folder, `src${door}/index.ts`));
}

function conditionsOf(door: string): object {
  return { types: `./dist${door}/index.d.ts`, default: `./dist${door}/index.js` };
}

/** The files from which an index.ts exports values, not only types. */
function publicFiles(workspace: Workspace): string[] {
  return doorsOf(workspace)
    .flatMap((door) => parse(workspace, `src${door}/index.ts`).statements.filter(isReExport))
    .filter(({ isTypeOnly, exportClause }) => {
      const named = exportClause && ts.isNamedExports(exportClause) ? exportClause.elements : undefined;
      return !isTypeOnly && !named?.every((element) => element.isTypeOnly);
    })
    .map(({ moduleSpecifier }) => (moduleSpecifier as ts.StringLiteral).text)
    .filter((specifier) => specifier.startsWith('.') && !specifier.endsWith('/index.ts'));
}

function isReExport(statement: ts.Statement): statement is ts.ExportDeclaration {
  return ts.isExportDeclaration(statement) && statement.moduleSpecifier !== undefined;
}

function parse(workspace: Workspace, file: string): ts.SourceFile {
  return ts.createSourceFile(file, read(workspace, file), ts.ScriptTarget.Latest, true);
}
