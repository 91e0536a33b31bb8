/** The errors that docstrings name: reads the `@throws` tags of the public operations of a package that has rooms. For its tests. */
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/**
 * The text of the `@throws` tag of each public operation, empty without one: of functions by their name, of methods and
 * accessors by `Class.name`, of constructors by the name of the class.
 *
 * @param src - the folder of the sources
 */
export function throwsTags(src: URL): ReadonlyMap<string, string> {
  const names = publicNames(src);
  const tags = new Map<string, string>();
  const add = (name: string, node: ts.Node): void => {
    const tag = ts.getJSDocTags(node).find(({ tagName }) => tagName.text === 'throws');
    if (tag !== undefined || !tags.has(name)) tags.set(name, ts.getTextOfJSDocComment(tag?.comment) ?? '');
  };
  for (const file of globSync('*/*.ts', { cwd: fileURLToPath(src) })) {
    for (const node of statementsOf(src, file)) {
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
 * The codes of an error class in the text of a tag: those after the name of the class and before the name of another one. A
 * link to an operation stands for the codes of its row.
 */
export function codesIn(
  text: string,
  errorClass: string,
  rowOf: (operation: string) => readonly string[],
): string[] {
  const codes: string[] = [];
  let current = '';
  for (const [token, name, code, link] of text.matchAll(
    /\b([A-Z]\w+(?:Error|Fault))\b|`([A-Z][A-Z0-9_]+)`|\{@link ([\w.]+) *\}/g,
  )) {
    if (name !== undefined) current = name;
    else if (link !== undefined) codes.push(...rowOf(link));
    else if (code !== undefined && current === errorClass) codes.push(code);
    else if (current === '') throw new Error(`${token} stands before the name of a class: ${text}`);
  }
  return [...new Set(codes)].sort();
}

/** The names that the rooms export. */
function publicNames(src: URL): Set<string> {
  const clauses = globSync('{,*/}index.ts', { cwd: fileURLToPath(src) })
    .flatMap((file) => [...statementsOf(src, file)])
    .filter(ts.isExportDeclaration)
    .map(({ exportClause }) => exportClause);
  const named = clauses.filter((clause) => clause !== undefined && ts.isNamedExports(clause));
  return new Set(named.flatMap(({ elements }) => elements.map(({ name }) => name.text)));
}

function statementsOf(src: URL, file: string): ts.NodeArray<ts.Statement> {
  const text = readFileSync(new URL(file, src), 'utf8');
  return ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true).statements;
}
