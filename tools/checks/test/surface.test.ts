/** The public names of all packages together: a name has one meaning, and a meaning has one name. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { PACKAGES } from '../workspace.ts';

const { folder, problem } = inject('consumer');
const RESOLVERS = {
  nodenext: { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext },
  bundler: { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler },
};
const NAMES = PACKAGES.map(({ manifest }) => manifest.name);
const DOORS = PACKAGES.flatMap(({ manifest }) =>
  Object.keys(manifest['exports'] as object)
    .filter((path) => path !== './package.json')
    .map((path) => `${manifest.name}${path.slice(1)}`),
);

beforeAll(() => {
  if (problem) throw new Error(`packing failed: ${problem}`);
  mkdirSync(join(folder, 'surface'));
});

/** Makes a program of `code` in the folder with the installed packages. */
function compile(name: string, code: string, resolver: keyof typeof RESOLVERS): ts.Program {
  const file = join(folder, 'surface', `${name}.ts`);
  writeFileSync(file, code);
  return ts.createProgram([file], {
    ...RESOLVERS[resolver],
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2022.d.ts'],
    types: [],
    strict: true,
    skipLibCheck: false,
    noEmit: true,
  });
}

function problemsOf(program: ts.Program): string[] {
  return ts
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

describe.each(['nodenext', 'bundler'] as const)('%s', (resolver) => {
  test('export * of all packages into one file compiles', () => {
    const code = NAMES.map((name) => `export * from '${name}';`).join('\n');
    expect(problemsOf(compile(`all-${resolver}`, code, resolver))).toEqual([]);
  });

  test('every sub-path resolves, with types', () => {
    const code = DOORS.map((door, index) => `import * as door${index} from '${door}'; door${index};`);
    expect(problemsOf(compile(`doors-${resolver}`, code.join('\n'), resolver))).toEqual([]);
  });
});

test('no table of constants and no union of literals has two names', () => {
  const code = NAMES.map((name) => `export * from '${name}';`).join('\n');
  const program = compile('twins', code, 'nodenext');
  const checker = program.getTypeChecker();
  const [file] = program.getRootFileNames();
  const module = checker.getSymbolAtLocation(program.getSourceFile(file as string) as ts.SourceFile);
  const names = new Map<string, string[]>();
  const exported = checker.getExportsOfModule(module as ts.Symbol);
  expect(exported.length).toBeGreaterThan(300);
  for (const symbol of exported) {
    const meaning = meaningOf(checker, symbol);
    if (meaning !== undefined) names.set(meaning, [...(names.get(meaning) ?? []), symbol.name]);
  }
  expect(names.size).toBeGreaterThan(20);
  expect([...names].filter(([, twins]) => twins.length > 1)).toEqual([]);
});

/** The properties of a table of literals, or the members of a union of literals; `undefined` for any other symbol. */
function meaningOf(checker: ts.TypeChecker, symbol: ts.Symbol): string | undefined {
  const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  // A table and the union of its values often share a name. Compare the table, which has more in it.
  if (target.flags & ts.SymbolFlags.Variable) {
    const properties = checker.getTypeOfSymbol(target).getProperties();
    const entries = properties.map((property) => {
      const type = checker.getTypeOfSymbol(property);
      return type.isLiteral() ? `${property.name}: ${checker.typeToString(type)}` : undefined;
    });
    return entries.length > 0 && !entries.includes(undefined) ? entries.sort().join('; ') : undefined;
  }
  if (target.flags & ts.SymbolFlags.TypeAlias) {
    const type = checker.getDeclaredTypeOfSymbol(target);
    if (!type.isUnion() || !type.types.every((member) => member.isLiteral())) return undefined;
    return type.types
      .map((member) => checker.typeToString(member))
      .sort()
      .join(' | ');
  }
  return undefined;
}
