/** Reads the docstrings of a source file. */
import { readFileSync } from 'node:fs';
import ts from 'typescript';

/**
 * The text of the `@throws` tag of each documented function, method, accessor and constructor of a file of `src`, by the name
 * of its row in the table of error codes: `getOrder`, `PageAllocator.own`, `new SlabCache`. The text is empty without a tag.
 * A tag `as {@link other}` has the text of the other method of the class.
 */
export function throwsTags(file: string): Map<string, string> {
  const text = readFileSync(new URL(`../../src/${file}`, import.meta.url), 'utf8');
  const tags = new Map<string, string>();
  const visit = (node: ts.Node): void => {
    const name = nameOf(node);
    if (name !== undefined && ts.getJSDocCommentsAndTags(node).length > 0) {
      const throws = ts.getJSDocTags(node).find(({ tagName }) => tagName.text === 'throws');
      const text = ts.getTextOfJSDocComment(throws?.comment) ?? '';
      const other = /^as \{@link (\w+)\}$/.exec(text)?.[1];
      const row = `${name.split('.')[0]}.${other}`;
      if (other !== undefined && !tags.has(row))
        throw new Error(`${name} refers to ${row}, which comes later or not`);
      tags.set(name, other === undefined ? text : tags.get(row)!);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  return tags;
}

function nameOf(node: ts.Node): string | undefined {
  if (ts.isFunctionDeclaration(node)) return node.name?.text;
  if (ts.isConstructorDeclaration(node)) return `new ${node.parent.name?.text}`;
  if (!ts.isMethodDeclaration(node) && !ts.isMethodSignature(node) && !ts.isGetAccessor(node))
    return undefined;
  const { parent } = node;
  const isMember = ts.isClassDeclaration(parent) || ts.isInterfaceDeclaration(parent);
  return isMember ? `${parent.name?.text}.${node.name.getText()}` : undefined;
}
