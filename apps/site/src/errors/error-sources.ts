/** Reads the error classes of the packages from their sources: codes, details, messages, README, and tables of operations. */
import { globSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { type PackageName, ROOT, readSource } from '../packages.ts';

/** A code of an error class, with all that the repository says about it. */
export interface ErrorEntry {
  readonly code: string;
  /** The docstring of the code's details, as Markdown. */
  readonly meaning: string;
  /** The type of the details. */
  readonly details: string;
  /** The message, with `‹name›` where a value is put in. */
  readonly message: string;
  /** From the README: when it is thrown. */
  readonly when: string;
  /** From the README: what a caller should do. */
  readonly action: string;
  /** The operations that throw it, sorted: `PageTable.map4k`. Empty for a class without a table of operations. */
  readonly operations: readonly string[];
}

export interface ErrorClass {
  /** `PageTableError`. */
  readonly name: string;
  readonly package: PackageName;
  /** In the order of the source. */
  readonly entries: readonly ErrorEntry[];
}

/** The error classes of a package. Throws if a source lacks a part: each code has all but operations. */
export async function errorClassesOf(name: PackageName): Promise<ErrorClass[]> {
  const files = globSync(['src/*-{error,fault}.ts', 'src/*/*-{error,fault}.ts'], {
    cwd: `${ROOT}packages/${name}`,
  });
  const rows = rowsOf(readSource(name, 'README.md'));
  const throwers = await throwersIn(name);
  return files
    .sort()
    .map((file) => ts.createSourceFile(file, readSource(name, file), ts.ScriptTarget.Latest, true))
    .flatMap((source) => {
      const found = source.statements.find(isDetails);
      return found === undefined ? [] : [{ source, details: found }];
    })
    .map(({ source, details }) => {
      const className = details.name.text.slice(0, -'Details'.length);
      const messages = messagesIn(source);
      return {
        name: className,
        package: name,
        entries: details.members.filter(ts.isPropertySignature).map((member) => {
          const code = member.name.getText();
          const row = rows.get(code);
          const message = messages.get(code);
          if (row === undefined) throw new Error(`the README of ${name} has no row for ${code}`);
          if (message === undefined)
            throw new Error(`${source.fileName} of ${name} has no message for ${code}`);
          return {
            code,
            meaning: docstringOf(member),
            details: typeText(member),
            message,
            ...row,
            operations: className.endsWith('Fault') ? [] : (throwers.get(code) ?? []),
          };
        }),
      };
    });
}

function isDetails(node: ts.Statement): node is ts.InterfaceDeclaration {
  return ts.isInterfaceDeclaration(node) && /^\w+(Error|Fault)Details$/.test(node.name.text);
}

/** The rows of the tables of errors in a README. The codes of one package differ. */
function rowsOf(readme: string): Map<string, { when: string; action: string }> {
  const errors = readme.slice(readme.indexOf('\n## Errors'), readme.indexOf('\n## Cost'));
  return new Map(
    [...errors.matchAll(/^\| `([A-Z][A-Z_]*)` \| (.+) \| (.+) \|$/gm)].map(([, code, when, action]) => [
      code!,
      { when: when!, action: action! },
    ]),
  );
}

/** The operations by the code that they throw, from the package's table `ERRORS_OF`, which its tests compare with its docstrings. */
async function throwersIn(name: PackageName): Promise<Map<string, string[]>> {
  const throwers = new Map<string, string[]>();
  for (const file of globSync('src/**/error*-{codes,of}.ts', { cwd: `${ROOT}packages/${name}` })) {
    const module: { ERRORS_OF?: Record<string, readonly string[]> } = await import(
      /* @vite-ignore */ pathToFileURL(`${ROOT}packages/${name}/${file}`).href
    );
    for (const [operation, codes] of Object.entries(module.ERRORS_OF ?? {})) {
      for (const code of codes) throwers.set(code, [...(throwers.get(code) ?? []), operation].sort());
    }
  }
  return throwers;
}

function docstringOf(node: ts.Node): string {
  const [doc] = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc);
  const text = ts.getTextOfJSDocComment(doc?.comment) ?? '';
  return text.replaceAll(/\{@link (\w+)\}/g, '`$1`').replaceAll(/\s*\n\s*/g, ' ');
}

function typeText(member: ts.PropertySignature): string {
  const text = (member.type?.getText() ?? 'unknown').replaceAll(/\s*\n\s*/g, ' ');
  return text.replace(/; \}$/, ' }').replace(/^Record<(string, never|never, never)>$/, '{}');
}

/** The messages of the table `MESSAGES`, and of functions that it names. */
function messagesIn(source: ts.SourceFile): Map<string, string> {
  const constants = source.statements
    .filter(ts.isVariableStatement)
    .flatMap(({ declarationList }) => [...declarationList.declarations]);
  const table = constants.find(({ name }) => name.getText() === 'MESSAGES')?.initializer;
  if (table === undefined || !ts.isObjectLiteralExpression(table)) return new Map();
  return new Map(
    table.properties.filter(ts.isPropertyAssignment).map(({ name, initializer }) => {
      const named = constants.find((constant) => constant.name.getText() === initializer.getText());
      return [name.getText(), textOf(named?.initializer ?? initializer)];
    }),
  );
}

/** The text that an expression makes: literals as they are, and `‹name›` for a value. */
function textOf(node: ts.Expression): string {
  if (ts.isArrowFunction(node)) return ts.isBlock(node.body) ? '‹…›' : textOf(node.body);
  if (ts.isParenthesizedExpression(node)) return textOf(node.expression);
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node)) {
    return node.templateSpans.reduce(
      (text, { expression, literal }) => text + textOf(expression) + literal.text,
      node.head.text,
    );
  }
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    return textOf(node.left) + textOf(node.right);
  }
  if (ts.isConditionalExpression(node)) {
    const choices = [textOf(node.whenTrue), textOf(node.whenFalse)];
    return `‹${choices.map((choice) => choice || 'nothing').join(' | ')}›`;
  }
  return `‹${valueIn(node)}›`;
}

/** The value that a message shows: the last name in `hex16(end - 1n)` that is not a function's. */
function valueIn(node: ts.Expression): string {
  const names: string[] = [];
  const visit = (inner: ts.Node): void => {
    if (ts.isIdentifier(inner)) names.push(inner.text);
    else if (ts.isCallExpression(inner) && inner.arguments.length > 0) inner.arguments.forEach(visit);
    else ts.forEachChild(inner, visit);
  };
  visit(node);
  return names[0] ?? '…';
}
