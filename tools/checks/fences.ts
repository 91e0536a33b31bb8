/** The TypeScript examples in the repository's documents and in the docstrings of its packages. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { PACKAGES, ROOT } from './workspace.ts';

export interface Fence {
  /** `packages/address/README.md:12`: the file, and the line of the fence in it. */
  at: string;
  /** The words after the backticks: `ts` is compiled and run, `ts no-run` only compiled, other languages are ignored. */
  info: string;
  code: string;
  /** The lines that the example prints, by its `// =>` comments; empty if it has none. */
  prints: string[];
}

/** The documents that may hold examples. Those that are named here must exist, and so must the README of each package. */
export const DOCUMENTS: readonly string[] = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...PACKAGES.map(({ name }) => `packages/${name}/README.md`),
  ...find('packages/*/*.md').filter((file) => !/\/(README|CHANGELOG)\.md$/.test(file)),
  ...find('{apps,examples}/*/README.md'),
  ...find('apps/site/content/{*,guide/*}.md'),
  ...find('docs/**/*.md'),
];

/** The sources whose docstrings hold examples, each below an `@example` tag. */
export const SOURCES: readonly string[] = find('packages/*/src/**/*.ts');

/** The fences of a document or source of this repository; none if it does not exist. */
export function fencesOf(file: string): Fence[] {
  if (!existsSync(join(ROOT, file))) return [];
  const text = readFileSync(join(ROOT, file), 'utf8');
  return file.endsWith('.md') ? fencesInMarkdown(text, file) : fencesInSource(text, file);
}

/** The fences of a Markdown text. They count as lying in `file`, from the line after `above` on. */
export function fencesInMarkdown(text: string, file: string, above = 0): Fence[] {
  return [...text.matchAll(/^( *)```(\S.*)\n([\s\S]*?)^\1```$/gm)].map((match) => {
    const code = match[3]!;
    return {
      at: `${file}:${above + text.slice(0, match.index).split('\n').length}`,
      info: match[2]!.trim(),
      code,
      prints: [...code.matchAll(/\/\/ => ?(.*)$/gm)].map((comment) => comment[1]!.trimEnd()),
    };
  });
}

/** The fences in the docstrings of a source. */
export function fencesInSource(text: string, file: string): Fence[] {
  return docstringsIn(text).flatMap(({ line, markdown }) => fencesInMarkdown(markdown, file, line - 1));
}

/** The `@example` tags of a source that no fence follows, as `file:line`. */
export function tagsWithoutFence(text: string, file: string): string[] {
  return docstringsIn(text).flatMap(({ line, markdown }) =>
    [...markdown.matchAll(/^ ?@example\b(?!.*\n+```ts\b)/gm)].map(
      ({ index }) => `${file}:${line - 1 + markdown.slice(0, index).split('\n').length}`,
    ),
  );
}

interface Docstring {
  /** The line on which the comment begins, from 1. */
  readonly line: number;
  /** Its text without the comment markers. */
  readonly markdown: string;
}

function docstringsIn(text: string): Docstring[] {
  const source = ts.createSourceFile('file.ts', text, ts.ScriptTarget.Latest, true);
  // By position: nodes that begin at the same place share their docstrings.
  const found = new Map<number, Docstring>();
  const visit = (node: ts.Node): void => {
    for (const { pos, end } of ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc)) {
      const line = source.getLineAndCharacterOfPosition(pos).line + 1;
      const content = text.slice(pos + '/**'.length, end - '*/'.length);
      found.set(pos, { line, markdown: content.replaceAll(/^[^\S\n]*\*(?: |$)?/gm, '') });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return [...found.values()].sort((a, b) => a.line - b.line);
}

function find(pattern: string): string[] {
  return globSync(pattern, { cwd: ROOT, exclude: (path) => path.endsWith('node_modules') })
    .map((file) => file.replaceAll('\\', '/'))
    .sort();
}
