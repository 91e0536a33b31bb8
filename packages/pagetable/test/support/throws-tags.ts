/** The errors that docstrings name: reads the `@throws` tags of the public operations. */
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const SRC: string = fileURLToPath(new URL('../../src/', import.meta.url));

function parse(file: string): ts.SourceFile {
  return ts.createSourceFile(file, readFileSync(`${SRC}${file}`, 'utf8'), ts.ScriptTarget.Latest, true);
}

/** The names that the package exports. */
function publicNames(): Set<string> {
  const clauses = [...parse('index.ts').statements]
    .filter(ts.isExportDeclaration)
    .map(({ exportClause }) => exportClause)
    .filter((clause) => clause !== undefined && ts.isNamedExports(clause));
  return new Set(clauses.flatMap(({ elements }) => elements.map(({ name }) => name.text)));
}

/**
 * The text of the `@throws PageTableError` tag of each public operation, empty without one: of functions by their name, of
 * public methods and constructors of classes and of methods of interfaces by `Owner.name`.
 */
export function throwsTags(): ReadonlyMap<string, string> {
  const names = publicNames();
  const tags = new Map<string, string>();
  const add = (name: string, node: ts.Node): void => {
    const texts = ts
      .getJSDocTags(node)
      .filter(({ tagName }) => tagName.text === 'throws')
      .map(({ comment }) => ts.getTextOfJSDocComment(comment) ?? '');
    tags.set(name, texts.find((text) => text.startsWith('PageTableError')) ?? '');
  };
  for (const file of globSync('*/*.ts', { cwd: SRC })) {
    for (const node of parse(file).statements) {
      const isOwner = ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node);
      if (!isOwner && !ts.isFunctionDeclaration(node)) continue;
      const name = node.name?.text ?? '';
      if (!names.has(name)) continue;
      if (!isOwner) add(name, node);
      else
        for (const member of node.members) if (isOperation(member)) add(`${name}.${nameOf(member)}`, member);
    }
  }
  return tags;
}

type Member = ts.MethodDeclaration | ts.MethodSignature | ts.ConstructorDeclaration;

function isOperation(member: ts.Node): member is Member {
  if (ts.isMethodSignature(member)) return true;
  if (!ts.isMethodDeclaration(member) && !ts.isConstructorDeclaration(member)) return false;
  if (member.name !== undefined && ts.isPrivateIdentifier(member.name)) return false;
  const isHidden = ({ kind }: ts.ModifierLike): boolean =>
    kind === ts.SyntaxKind.PrivateKeyword || kind === ts.SyntaxKind.ProtectedKeyword;
  return member.modifiers?.some(isHidden) !== true;
}

function nameOf(member: Member): string {
  return ts.isConstructorDeclaration(member) ? 'constructor' : member.name.getText();
}

/** The codes in the text of a tag of `operation`. `as {@link other}` stands for the codes of another row. */
export function codesIn(
  text: string,
  operation: string,
  rowOf: (operation: string) => readonly string[],
): string[] {
  const owner = operation.includes('.') ? `${operation.split('.')[0]}.` : '';
  const named = [...text.matchAll(/`([A-Z][A-Z0-9_]+)`/g)].map(([, code]) => code!);
  for (const [, other] of text.matchAll(/as \{@link ([\w.]+) *\}/g)) {
    named.push(...rowOf(other!.includes('.') ? other! : `${owner}${other}`));
  }
  return [...new Set(named)].sort();
}
