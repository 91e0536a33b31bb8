/** The errors that docstrings name: reads the `@throws` tags of a source file. */
import { readFileSync } from 'node:fs';
import ts from 'typescript';

/**
 * The text of the `@throws` tag of each documented function, constructor and public method, also of an interface, of a file of `src`, as
 * `virtRegion` or `MemoryRegion.merge`; empty without a tag.
 */
export function throwsTags(file: string): Map<string, string> {
  const text = readFileSync(new URL(`../src/${file}`, import.meta.url), 'utf8');
  const tags = new Map<string, string>();
  const visit = (node: ts.Node): void => {
    const name = operationOf(node);
    if (name !== undefined && ts.getJSDocCommentsAndTags(node).length > 0) {
      const throws = ts.getJSDocTags(node).find(({ tagName }) => tagName.text === 'throws');
      tags.set(name, ts.getTextOfJSDocComment(throws?.comment) ?? '');
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  return tags;
}

function operationOf(node: ts.Node): string | undefined {
  if (ts.isFunctionDeclaration(node)) return node.name?.text;
  const isMember = ts.isMethodDeclaration(node) || ts.isMethodSignature(node);
  const isMethod = isMember && ts.isIdentifier(node.name);
  if (!isMethod && !ts.isConstructorDeclaration(node)) return undefined;
  const { parent } = node;
  const owner =
    ts.isClassDeclaration(parent) || ts.isInterfaceDeclaration(parent) ? parent.name?.text : undefined;
  return `${owner}.${isMethod ? node.name.text : 'constructor'}`;
}
