/** Finds stilted patterns in the prose of the repository: its documents, and the comments and strings of its sources. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { ROOT } from './workspace.ts';

/** A pattern to avoid, and what to write instead. */
interface Pattern {
  readonly name: string;
  readonly regex: RegExp;
  readonly instead: string;
}

/** A place in a file that matches a pattern. */
export interface Finding {
  /** `packages/address/README.md:12`. */
  readonly at: string;
  readonly pattern: Pattern;
  /** The words around it, on one line. */
  readonly excerpt: string;
}

/** Words after which "no" is good English: "is no longer", "is no more than". "There is no X" is good English, too. */
const AFTER_NO = '(?:longer|more|less|later|earlier|better|worse)\\b';

/** The patterns. A space matches a line break as well. */
const PATTERNS: readonly Pattern[] = [
  {
    name: '`is no X`',
    regex: pattern(`(?<!\\b[Tt]here )\\bis no (?!${AFTER_NO})[a-z]`),
    instead: 'write "is not a X"',
  },
  {
    name: '`are no X`',
    regex: pattern(`(?<!\\b[Tt]here )\\bare no (?!${AFTER_NO})[a-z]`),
    instead: 'write "are not X"',
  },
  { name: '`that is none`', regex: pattern('\\bthat is none\\b'), instead: 'say what is wrong with it' },
  {
    name: '`that there is not`',
    regex: pattern('\\bthat there (?:is|are) not\\b'),
    instead: 'write "that does not exist"',
  },
  { name: '`as it were`', regex: pattern('\\bas it were\\b'), instead: 'leave it out' },
  {
    name: '`/** What`',
    regex: /\/\*\*\s*(?:What|That|Who)\b/g,
    instead: 'open with a noun or a verb: "The details of each code"',
  },
];

/** The part of the repository that a file belongs to: `packages/address`, `apps`, `examples`, `tools` or `documents`. */
export function areaOf(file: string): string {
  const [first = '', second = ''] = file.split('/');
  if (first === 'packages') return `packages/${second}`;
  return ['apps', 'examples', 'tools'].includes(first) ? first : 'documents';
}

/** The files whose prose is checked, untracked ones too. Changelogs are history, and left out. */
export function proseFiles(): string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return listed
    .split('\n')
    .filter((file) => /\.md$|^(?:packages|apps|examples|tools)\/.*\.tsx?$/.test(file))
    .filter((file) => !file.endsWith('CHANGELOG.md') && existsSync(join(ROOT, file)))
    .sort();
}

/** All findings in a file. */
export function findingsIn(file: string): Finding[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return findingsOf(file.endsWith('.md') ? proseOfMarkdown(text) : proseOfSource(text, file), file);
}

/** All findings in prose, as {@link proseOfMarkdown} and {@link proseOfSource} return it. */
export function findingsOf(prose: string, file: string): Finding[] {
  return PATTERNS.flatMap((pattern) =>
    [...prose.matchAll(pattern.regex)].map(({ 0: { length }, index }) => ({
      at: `${file}:${prose.slice(0, index).split('\n').length}`,
      pattern,
      excerpt: prose
        .slice(Math.max(0, index - 30), index + length + 30)
        .replaceAll(HIDDEN, '')
        .replaceAll(/\s+/g, ' ')
        .trim(),
    })),
  );
}

/** Replaces each character that is not prose, so that line numbers stay the same. */
const HIDDEN = '\0';

/** The prose of a Markdown document. Text in `backticks` is hidden. */
export function proseOfMarkdown(text: string): string {
  // Fences are read too: they have comments and drawings. Within a fence, a backtick is not markup.
  return text
    .split(/(^ *```[\s\S]*?^ *```$)/m)
    .map((part, index) => (index % 2 === 0 ? withoutQuotes(part) : part.replaceAll('```', hide)))
    .join('');
}

/** The prose of a TypeScript file: its comments and strings. Text in `backticks` there is hidden. */
export function proseOfSource(text: string, name = 'file.ts'): string {
  const file = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
  let prose = '';
  const visit = (node: ts.Node): void => {
    const children = node.getChildren(file).filter(({ kind }) => !isDocumentation(kind));
    if (children.length > 0) {
      children.forEach(visit);
      return;
    }
    const [start, end] = [node.getStart(file), node.getEnd()];
    prose += commentsOf(text.slice(prose.length, start));
    prose += readable(node.kind, text.slice(start, end));
  };
  visit(file);
  return prose;
}

/** White space and comments. The markers at the beginning of a line are replaced by spaces. */
function commentsOf(trivia: string): string {
  return withoutQuotes(
    trivia.replaceAll(/(?<=\n)[^\S\n]*(?:\*(?!\/)|\/\/)/g, (marker) => ' '.repeat(marker.length)),
  );
}

function withoutQuotes(text: string): string {
  return text.replaceAll(/`[^`\n]*(?:\n(?!\s*\n)[^`\n]*)?`/g, hide);
}

function hide(text: string): string {
  return text.replaceAll(/[^\n]/g, HIDDEN);
}

function isDocumentation(kind: ts.SyntaxKind): boolean {
  return kind >= ts.SyntaxKind.FirstJSDocNode && kind <= ts.SyntaxKind.LastJSDocNode;
}

/** A token. It is hidden unless it is a string, text between tags or a part of a template. */
function readable(kind: ts.SyntaxKind, token: string): string {
  if (kind === ts.SyntaxKind.StringLiteral || kind === ts.SyntaxKind.JsxText) return withoutQuotes(token);
  const isTemplate = kind >= ts.SyntaxKind.FirstTemplateToken && kind <= ts.SyntaxKind.LastTemplateToken;
  return isTemplate ? token.replaceAll(/\\`[^`]*\\`/g, hide) : hide(token);
}

/** A pattern of words: a space in it matches any white space. */
function pattern(words: string): RegExp {
  return new RegExp(words.replaceAll(' ', '\\s+'), 'g');
}
