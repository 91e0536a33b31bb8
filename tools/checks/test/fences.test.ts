/** `documents.test.ts` compiles and runs the examples that are found here, and names them by file and line. */
import { expect, test } from 'vitest';
import { fencesInMarkdown, fencesInSource, tagsWithoutFence } from '../fences.ts';

test('in a document, each fence has its language, its line and the lines that it prints', () => {
  const text = ['# A', '```ts', 'f(1); // => 1', '// => 2', '```', '```sh', 'ls', '```', ''].join('\n');
  expect(fencesInMarkdown(text, 'a.md')).toEqual([
    { at: 'a.md:2', info: 'ts', code: 'f(1); // => 1\n// => 2\n', prints: ['1', '2'] },
    { at: 'a.md:6', info: 'sh', code: 'ls\n', prints: [] },
  ]);
});

const SOURCE = `/** About the file. */
import { a } from './a.ts';

/**
 * Adds.
 *
 * @example
 * \`\`\`ts
 * import { add } from 'pkg';
 *
 * if (add(1, 2) === 3) {
 *   console.log(add(1, 2)); // => 3
 * }
 * \`\`\`
 */
export const add = (a: number, b: number): number => a + b;

export class Counter {
  /**
   * Counts.
   *
   * @example From 0
   * \`\`\`ts no-run
   * count();
   * \`\`\`
   */
  count(): void {
    // \`\`\`ts: not a docstring
  }
}

export interface Options {
  /** @example
   * sum(1)
   */
  sum: number;
}
`;

test('in a source, fences are found in the docstrings of declarations and of their members', () => {
  const code = [
    "import { add } from 'pkg';",
    '',
    'if (add(1, 2) === 3) {',
    '  console.log(add(1, 2)); // => 3',
    '}',
    '',
  ].join('\n');
  expect(fencesInSource(SOURCE, 'a.ts')).toEqual([
    { at: 'a.ts:8', info: 'ts', code, prints: ['3'] },
    { at: 'a.ts:23', info: 'ts no-run', code: 'count();\n', prints: [] },
  ]);
});

test('an @example without a fence is found', () => {
  expect(tagsWithoutFence(SOURCE, 'a.ts')).toEqual(['a.ts:33']);
});
