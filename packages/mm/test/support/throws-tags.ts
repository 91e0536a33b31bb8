/** The errors that docstrings name: reads the `@throws` tags of the public operations. */
import { globSync, readFileSync } from 'node:fs';
import ts from 'typescript';

const SRC: string = new URL('../../src/', import.meta.url).pathname;

function parse(file: string): ts.SourceFile {
  return ts.createSourceFile(file, readFileSync(`${SRC}${file}`, 'utf8'), ts.ScriptTarget.Latest, true);
}

/** The names that the rooms export. */
function publicNames(): Set<string> {
  const clauses = globSync('*/index.ts', { cwd: SRC })
    .flatMap((file) => [...parse(file).statements])
    .filter(ts.isExportDeclaration)
    .map(({ exportClause }) => exportClause);
  const named = clauses.filter((clause) => clause !== undefined && ts.isNamedExports(clause));
  return new Set(named.flatMap(({ elements }) => elements.map(({ name }) => name.text)));
}

/**
 * The text of the `@throws` tag of each public operation, empty without one: of functions by their name, of methods and
 * accessors by `Class.name`, of constructors by the name of the class.
 */
export function throwsTags(): ReadonlyMap<string, string> {
  const names = publicNames();
  const tags = new Map<string, string>();
  const add = (name: string, node: ts.Node): void => {
    const tag = ts.getJSDocTags(node).find(({ tagName }) => tagName.text === 'throws');
    if (tag !== undefined || !tags.has(name)) tags.set(name, ts.getTextOfJSDocComment(tag?.comment) ?? '');
  };
  for (const file of globSync('*/*.ts', { cwd: SRC })) {
    for (const node of parse(file).statements) {
      if (ts.isFunctionDeclaration(node) && names.has(node.name?.text ?? '')) add(node.name!.text, node);
      if (ts.isVariableStatement(node)) {
        // An object of functions, with its type.
        for (const { name, type } of node.declarationList.declarations) {
          if (type === undefined || !ts.isTypeLiteralNode(type) || !names.has(name.getText())) continue;
          for (const member of type.members) add(`${name.getText()}.${member.name?.getText()}`, member);
        }
      }
      if (!ts.isClassDeclaration(node) || !names.has(node.name?.text ?? '')) continue;
      for (const member of node.members) {
        if (ts.isConstructorDeclaration(member)) add(node.name!.text, member);
        else if (member.name !== undefined && ts.isIdentifier(member.name)) {
          add(`${node.name!.text}.${member.name.text}`, member);
        } else if (member.name !== undefined && ts.isComputedPropertyName(member.name)) {
          add(`${node.name!.text}${member.name.getText()}`, member);
        }
      }
    }
  }
  return tags;
}

/**
 * The codes of `MmError` in the text of a tag: those after the word `MmError` and before the name of another class. A
 * link to an operation stands for the codes of its row.
 */
export function codesIn(text: string, rowOf: (operation: string) => readonly string[]): string[] {
  const codes: string[] = [];
  let current = '';
  for (const [token, name, code, link] of text.matchAll(
    /\b([A-Z]\w+(?:Error|Fault))\b|`([A-Z][A-Z0-9_]+)`|\{@link ([\w.]+) *\}/g,
  )) {
    if (name !== undefined) current = name;
    else if (link !== undefined) codes.push(...rowOf(link));
    else if (code !== undefined && current === 'MmError') codes.push(code);
    else if (current === '') throw new Error(`${token} stands before the name of a class: ${text}`);
  }
  return [...new Set(codes)].sort();
}
