/** The part of a package's declarations that its entry points reach: what users see, and what that refers to. */
import { dirname, join } from 'node:path';
import ts from 'typescript';

/** A name in another file of the package: `from` is the path of its source. */
interface Reference {
  readonly from: string;
  readonly name: string;
}

/** The declarations of one source. */
export class DeclarationFile {
  readonly source: string;
  readonly text: string;
  readonly tree: ts.SourceFile;
  /** The statements that declare each name. */
  readonly declared: Map<string, ts.Statement[]> = new Map();
  /** The names that it imports from other files of the package. */
  readonly imported: Map<string, Reference> = new Map();
  /** The names that it exports from other files of the package. */
  readonly reExported: Map<string, Reference> = new Map();
  /** The sources of which it exports everything. */
  readonly exportedWhole: string[] = [];
  /** The statements that are reached, and the local names of the imports. */
  readonly reached: Set<ts.Statement | string> = new Set();

  /** @param source - its path, relative to the package */
  constructor(source: string, text: string) {
    this.source = source;
    this.text = hideInternalConstructors(text);
    this.tree = parse(this.text);
    for (const statement of this.tree.statements) this.#add(statement);
  }

  #add(statement: ts.Statement): void {
    if (ts.isImportDeclaration(statement)) {
      for (const { name, propertyName } of specifiersOf(statement)) {
        this.#refer(this.imported, name.text, statement.moduleSpecifier, propertyName);
      }
      return;
    }
    if (ts.isExportDeclaration(statement)) {
      const { exportClause, moduleSpecifier } = statement;
      if (!exportClause || !ts.isNamedExports(exportClause)) {
        const whole = this.resolve(moduleSpecifier);
        if (whole !== undefined) this.exportedWhole.push(whole);
        return;
      }
      for (const { name, propertyName } of exportClause.elements) {
        this.#refer(this.reExported, name.text, moduleSpecifier, propertyName);
      }
      return;
    }
    for (const name of namesOf(statement)) {
      this.declared.set(name, [...(this.declared.get(name) ?? []), statement]);
    }
  }

  #refer(
    table: Map<string, Reference>,
    name: string,
    module: ts.Expression | undefined,
    original: ts.ModuleExportName | undefined,
  ): void {
    const from = this.resolve(module);
    if (from !== undefined) table.set(name, { from, name: original?.text ?? name });
  }

  /** The source of a module of the same package; `undefined` for another package. */
  resolve(module: ts.Node | undefined): string | undefined {
    if (module === undefined || !ts.isStringLiteral(module) || !module.text.startsWith('.')) return undefined;
    return join(dirname(this.source), module.text.replace(/\.js$/, '.ts'));
  }

  /** The text, with white space for what is not reached. Lines keep their numbers. */
  get reachedText(): string {
    let text = '';
    for (const statement of this.tree.statements) text += this.#textOf(statement);
    return text + this.text.slice(this.tree.endOfFileToken.pos);
  }

  #textOf(statement: ts.Statement): string {
    const text = this.text.slice(statement.pos, statement.end);
    const breaks = text.replace(/[^\n]/g, '');
    if (ts.isExportDeclaration(statement)) return text;
    if (!ts.isImportDeclaration(statement)) return this.reached.has(statement) ? text : breaks;
    const used = specifiersOf(statement).filter(({ name }) => this.reached.has(name.text));
    if (used.length === 0) return breaks;
    const names = used.map((specifier) => specifier.getText()).join(', ');
    const type = statement.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword ? 'type ' : '';
    return `${breaks}import ${type}{ ${names} } from ${statement.moduleSpecifier.getText()};`;
  }
}

/**
 * Makes constructors private whose docstring says `@internal`: other files of the package call them, users do not. Their
 * parameters would show users the package's inner classes.
 */
function hideInternalConstructors(text: string): string {
  let hidden = text;
  const visit = (node: ts.Node): void => {
    if (
      ts.isConstructorDeclaration(node) &&
      ts.getJSDocTags(node).some(({ tagName }) => tagName.text === 'internal')
    ) {
      const declaration = node.getText();
      const breaks = declaration.replace(/[^\n]/g, '');
      hidden = hidden.replace(declaration, `private constructor();${breaks}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(parse(text));
  return hidden;
}

function parse(text: string): ts.SourceFile {
  return ts.createSourceFile('file.d.ts', text, ts.ScriptTarget.Latest, true);
}

/** The texts of all files that the exports of `entries` reach, by source. `read` returns the file of a source. */
export function reachedText(
  entries: string[],
  read: (source: string) => DeclarationFile,
): Map<string, string> {
  const files = new Map<string, DeclarationFile>();
  const fileOf = (source: string): DeclarationFile => {
    const known = files.get(source) ?? read(source);
    files.set(source, known);
    return known;
  };
  // The loop goes on with what is added to the set.
  const indexes = new Set(entries);
  for (const index of indexes) {
    const file = fileOf(index);
    for (const whole of file.exportedWhole) indexes.add(whole);
    for (const { from, name } of file.reExported.values()) reach({ from, name }, fileOf);
  }
  return new Map([...files].map(([source, file]) => [source, file.reachedText]));
}

/** Marks what a name refers to, and all that this refers to. */
function reach({ from, name }: Reference, fileOf: (source: string) => DeclarationFile): void {
  const file = fileOf(from);
  const other = file.reExported.get(name);
  if (other) reach(other, fileOf);
  for (const statement of file.declared.get(name) ?? []) {
    if (file.reached.has(statement)) continue;
    file.reached.add(statement);
    visit(statement);
  }

  function visit(node: ts.Node): void {
    if (ts.isIdentifier(node)) refer(node.text);
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      const source = file.resolve(node.argument.literal);
      const [first] = node.qualifier?.getText().split('.') ?? [];
      if (source !== undefined && first !== undefined) reach({ from: source, name: first }, fileOf);
    }
    // The name of a member refers to nothing, unless it is computed.
    ts.forEachChild(node, (child) => {
      if (!(ts.isIdentifier(child) && 'name' in node && node.name === child)) visit(child);
    });
  }

  function refer(local: string): void {
    const target = file.imported.get(local);
    // The imports from other packages are kept by their names alone.
    file.reached.add(local);
    if (target) reach(target, fileOf);
    else if (file.declared.has(local)) reach({ from: file.source, name: local }, fileOf);
  }
}

function specifiersOf({ importClause }: ts.ImportDeclaration): readonly ts.ImportSpecifier[] {
  const bindings = importClause?.namedBindings;
  return bindings && ts.isNamedImports(bindings) ? bindings.elements : [];
}

function namesOf(statement: ts.Statement): string[] {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map(({ name }) => name.getText());
  }
  const { name } = statement as ts.DeclarationStatement;
  return name === undefined ? [] : [name.text];
}
