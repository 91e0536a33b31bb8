/** Marks the values of a module's constants as free of side effects, so that bundlers leave out those that nobody uses. */
import ts from 'typescript';

const PURE = '/* @__PURE__ */';

/**
 * Wraps the initializer of each top-level constant in a pure call. Bundlers keep a constant that nobody uses if its initializer could do
 * something: a call, a property, even `1n << 47n`, and a class with a static block. No module of the packages does anything when it is loaded. Lines stay the same.
 */
export function pureConstants(code: string): string {
  const file = ts.createSourceFile('chunk.js', code, ts.ScriptTarget.Latest, true);
  const marked: string[] = [];
  let end = 0;
  for (const statement of file.statements) {
    if (ts.isClassDeclaration(statement) && hasBlock(statement)) {
      const [start, name] = [statement.getStart(file), statement.name?.text];
      marked.push(code.slice(end, start), `const ${name} = ${PURE} (() => (`);
      marked.push(code.slice(start, statement.end), '))();');
      end = statement.end;
    }
    if (!ts.isVariableStatement(statement)) continue;
    for (const { name, initializer } of statement.declarationList.declarations) {
      if (initializer === undefined || isPlain(initializer)) continue;
      const start = initializer.getStart(file);
      if (ts.isClassExpression(initializer)) {
        const value = name.getText(file);
        marked.push(code.slice(end, start), `${PURE} (() => { const ${value} = `);
        marked.push(code.slice(start, initializer.end), `; return ${value}; })()`);
        end = initializer.end;
        continue;
      }
      const before = code.slice(end, start).replace(/\/\* @__PURE__ \*\/ $/, '');
      marked.push(before, `${PURE} (() => (`, code.slice(start, initializer.end), '))()');
      end = initializer.end;
    }
  }
  return marked.join('') + code.slice(end);
}

/** Whether it has a static block, which bundlers keep, and the class with it. */
function hasBlock(value: ts.ClassLikeDeclaration): boolean {
  return value.members.some(ts.isClassStaticBlockDeclaration);
}

/** Whether every bundler sees that making the value does nothing. A class and a function get their names here, so they stay. */
function isPlain(value: ts.Expression): boolean {
  if (ts.isObjectLiteralExpression(value)) {
    return value.properties.every(
      (property) =>
        ts.isPropertyAssignment(property) &&
        !ts.isComputedPropertyName(property.name) &&
        isPlain(property.initializer),
    );
  }
  if (ts.isArrayLiteralExpression(value)) return value.elements.every(isPlain);
  if (ts.isPrefixUnaryExpression(value)) return ts.isNumericLiteral(value.operand);
  return (
    ts.isLiteralExpression(value) ||
    ts.isArrowFunction(value) ||
    ts.isFunctionExpression(value) ||
    (ts.isClassExpression(value) && !hasBlock(value)) ||
    value.kind === ts.SyntaxKind.TrueKeyword ||
    value.kind === ts.SyntaxKind.FalseKeyword
  );
}
