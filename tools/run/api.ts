/**
 * `npm run api`: records the public declarations of each package in its `api.d.ts`. A test compares the record with
 * what is built, so that no change of a declaration goes unseen, and reviews show it.
 *
 * It prints what has changed, and which packages need a changeset for it.
 */
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { bumpsIn } from './follow.ts';
import { ROOT } from './turbo.ts';

/** The name of a record, in the folder of its package. */
export const RECORD = 'api.d.ts';

/** The exports of an entry point: the name that users import, and where it comes from. */
interface Export {
  /** The file that declares it, or the name of another package. */
  readonly from: string;
  /** Its name there. */
  readonly original: string;
  readonly typeOnly: boolean;
}

/** The fields of a manifest that are read here. */
interface Manifest {
  readonly name: string;
  readonly exports: Readonly<Record<string, string | { readonly types: string }>>;
}

/**
 * All that the declarations of a built package say, but no comments: each declaration once, in the order of their names, below
 * the entry points that export it.
 *
 * @param folder - of the package: of its sources or as it is installed
 */
export function apiOf(folder: string): string {
  const { name, exports }: Manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const doors = new Map<string, string[]>();
  const aliases: string[] = [];
  for (const [door, target] of Object.entries(exports)) {
    if (typeof target === 'string') continue;
    for (const [alias, { from, original, typeOnly }] of exportsOf(folder, target.types)) {
      const place = typeOnly ? `${door} (type only)` : door;
      const key = `${from}\n${original}`;
      doors.set(key, [...(doors.get(key) ?? []), place]);
      const specifier = alias === original ? alias : `${original} as ${alias}`;
      if (!from.startsWith('./')) aliases.push(`// ${place}\nexport { ${specifier} } from '${from}';`);
      else if (alias !== original) aliases.push(`// ${place}\nexport { ${specifier} };`);
    }
  }
  const imports = new Map<string, Set<string>>();
  const declarations: { name: string; text: string }[] = [];
  for (const file of globSync('dist/**/*.d.ts', { cwd: folder })) {
    const tree = parse(folder, `./${file}`);
    for (const [name, statements] of Map.groupBy(tree.statements.filter(isDeclaration), nameOf)) {
      const places = doors.get(`./${file}\n${name}`)?.join(', ') ?? 'not exported';
      // A type can only be exported as a type.
      const shown = statements.every(isType) ? places.replaceAll(' (type only)', '') : places;
      const texts = statements.map((statement) => print(statement, tree));
      declarations.push({ name, text: `// ${shown}\n${texts.join('\n')}` });
    }
    for (const statement of tree.statements.filter(ts.isImportDeclaration)) {
      const module = specifierOf(statement);
      const bindings = statement.importClause?.namedBindings;
      if (module.startsWith('.') || !bindings || !ts.isNamedImports(bindings)) continue;
      const names = bindings.elements.map((one) => one.getText().replace(/^type /, ''));
      imports.set(module, new Set([...(imports.get(module) ?? []), ...names]));
    }
  }
  declarations.sort((a, b) => compare(a.name, b.name) || compare(a.text, b.text));
  return `${[
    `// The public declarations of ${name}: npm run api records them. Above each is its entry point.`,
    ...[...imports]
      .sort()
      .map(([from, names]) => `import type { ${[...names].sort().join(', ')} } from '${from}';`),
    ...aliases.sort(),
    ...declarations.map(({ text }) => text),
  ].join('\n\n')}\n`;
}

/** The exports of an entry point, by name. */
function exportsOf(folder: string, index: string): Map<string, Export> {
  const found = new Map<string, Export>();
  for (const statement of parse(folder, index).statements) {
    if (!ts.isExportDeclaration(statement)) continue;
    const module = specifierOf(statement);
    const from = module.startsWith('.')
      ? `./${join(dirname(index), module).replace(/\.js$/, '.d.ts')}`
      : module;
    if (statement.exportClause === undefined) {
      for (const [name, one] of exportsOf(folder, from)) found.set(name, one);
    } else if (ts.isNamedExports(statement.exportClause)) {
      for (const { name, propertyName, isTypeOnly } of statement.exportClause.elements) {
        const typeOnly = isTypeOnly || statement.isTypeOnly;
        found.set(name.text, { from, original: propertyName?.text ?? name.text, typeOnly });
      }
    }
  }
  return found;
}

/** The lines that a record loses and gains, below the heads of their declarations; empty if they are equal. */
export function differences(before: string, after: string): string[] {
  const [old, now] = [declarationsIn(before), declarationsIn(after)];
  return [...new Set([...old.keys(), ...now.keys()])].sort().flatMap((head) => {
    const [from, to] = [old.get(head) ?? [], now.get(head) ?? []];
    const changes = [
      ...without(from, to).map((line) => `- ${line}`),
      ...without(to, from).map((line) => `+ ${line}`),
    ];
    if (changes.length === 0 && from.join() !== to.join()) changes.push('  (another order)');
    return changes.length > 0 ? [`  ${head}`, ...changes] : [];
  });
}

/** The lines of a record by declaration: the key has its kind and name. */
function declarationsIn(record: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const part of record.split(/\n\n(?=\/\/ |import )/)) {
    const declaration =
      /^(?:export )?(?:declare )?(?:abstract )?((?:class|interface|type|function|const|enum) [\w$]+)/m;
    const head = declaration.exec(part)?.[1] ?? 'imports and re-exports';
    found.set(head, [...(found.get(head) ?? []), ...part.trimEnd().split('\n')]);
  }
  return found;
}

/** The lines of `a` that are not in `b`; a line that is there twice must be there twice. */
function without(a: readonly string[], b: readonly string[]): string[] {
  const left = [...b];
  return a.filter((line) => {
    const at = left.indexOf(line);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

function isDeclaration(statement: ts.Statement): boolean {
  return !ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement);
}

function isType(statement: ts.Statement): boolean {
  return ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement);
}

function nameOf(statement: ts.Statement): string {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map(({ name }) => name.getText()).join();
  }
  return (statement as ts.DeclarationStatement).name?.getText() ?? '';
}

function specifierOf({ moduleSpecifier }: ts.ImportDeclaration | ts.ExportDeclaration): string {
  return moduleSpecifier && ts.isStringLiteral(moduleSpecifier) ? moduleSpecifier.text : '';
}

function parse(folder: string, file: string): ts.SourceFile {
  return ts.createSourceFile(file, readFileSync(join(folder, file), 'utf8'), ts.ScriptTarget.Latest, true);
}

function print(node: ts.Node, tree: ts.SourceFile): string {
  return ts.createPrinter({ removeComments: true }).printNode(ts.EmitHint.Unspecified, node, tree);
}

/** By code units, as on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

if (import.meta.main) {
  const changesets = globSync('.changeset/*.md', { cwd: ROOT }).map((file) =>
    readFileSync(join(ROOT, file), 'utf8'),
  );
  const bumps = bumpsIn(changesets);
  for (const folder of globSync('packages/*', { cwd: ROOT }).sort()) {
    const file = join(ROOT, folder, RECORD);
    const text = apiOf(join(ROOT, folder));
    const changes = existsSync(file) ? differences(readFileSync(file, 'utf8'), text) : [];
    writeFileSync(file, text);
    if (changes.length === 0) continue;
    const name = folder.replace(/^packages./, '@svsm/');
    const planned = bumps.get(name);
    console.log(`${name}\n${changes.join('\n')}`);
    if (planned === undefined || planned === 'patch') {
      console.log(`A minor changeset of ${name} is due: npm run changeset.\n`);
    }
  }
}
