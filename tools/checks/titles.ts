/** The tests of a file, by their titles, as they stand in its source. */
import { readFileSync } from 'node:fs';
import ts from 'typescript';

/** A test: the titles of the groups around it and its own, joined by ` › `. */
export interface NamedTest {
  readonly title: string;
  /** Whether it, or a group around it, is skipped, or runs under a condition. */
  readonly isSkipped: boolean;
}

/** The tests of a file, by absolute path. A title with placeholders, as `%s`, stands for all its cases. */
export function testsOf(file: string): NamedTest[] {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  const tests: NamedTest[] = [];
  const visit = (node: ts.Node, groups: readonly string[], isSkipped: boolean): void => {
    const found = ts.isCallExpression(node) ? namedCall(node) : undefined;
    if (found === undefined) {
      ts.forEachChild(node, (child) => visit(child, groups, isSkipped));
      return;
    }
    const skipped = isSkipped || found.isSkipped;
    const titles = [...groups, found.title];
    if (!found.isGroup) tests.push({ title: titles.join(' › '), isSkipped: skipped });
    for (const body of found.rest) visit(body, found.isGroup ? titles : groups, skipped);
  };
  visit(source, [], false);
  return tests;
}

/** A call of `test` or `describe`, also as `test.each(…)(title, …)`. */
function namedCall(
  call: ts.CallExpression,
): { title: string; isGroup: boolean; isSkipped: boolean; rest: readonly ts.Node[] } | undefined {
  const callee = call.expression.getText();
  const [first, ...rest] = call.arguments;
  const [, name] = callee.match(/^(describe|test)\b/) ?? [];
  if (name === undefined || first === undefined || !ts.isStringLiteralLike(first)) return undefined;
  const isSkipped = /\.(skip|skipIf|runIf|todo|fails)\b/.test(callee);
  return { title: first.text, isGroup: name === 'describe', isSkipped, rest };
}
