/** The errors that docstrings name: reads the `@throws` tags of a source file. */
import { readFileSync } from 'node:fs';
import ts from 'typescript';

/** The text of the `@throws` tag of each documented function and method of a file of `src`, by name; empty without a tag. */
export function throwsTags(file: string): Map<string, string> {
  const text = readFileSync(new URL(`../src/${file}`, import.meta.url), 'utf8');
  const tags = new Map<string, string>();
  const visit = (node: ts.Node): void => {
    if (isOperation(node) && ts.getJSDocCommentsAndTags(node).length > 0) {
      const throws = ts.getJSDocTags(node).find(({ tagName }) => tagName.text === 'throws');
      tags.set(node.name.text, ts.getTextOfJSDocComment(throws?.comment) ?? '');
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  return tags;
}

function isOperation(
  node: ts.Node,
): node is (ts.FunctionDeclaration | ts.MethodSignature) & { name: ts.Identifier } {
  return (
    (ts.isFunctionDeclaration(node) || ts.isMethodSignature(node)) &&
    node.name !== undefined &&
    ts.isIdentifier(node.name)
  );
}
