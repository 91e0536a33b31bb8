/** The README of each example leads to a page on which a browser runs it, or its core. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { EXAMPLES, ROOT, read } from '../workspace.ts';

test.each(EXAMPLES.map((example) => [example.name, example] as const))('%s links a guide', (_, example) => {
  const [, name = '', heading] =
    /https:\/\/svsm-js\.github\.io\/svsm\/guide\/([\w-]+)(?:#([\w-]+))?/.exec(read(example, 'README.md')) ??
    [];
  const file = join(ROOT, 'apps/site/content/guide', `${name}.md`);
  expect(existsSync(file), `the guide "${name}" does not exist`).toBe(true);
  const headings = [...readFileSync(file, 'utf8').matchAll(/^## (.*)$/gm)].map(([, words]) => words!);
  if (heading !== undefined)
    expect(headings.map((words) => words.toLowerCase().replaceAll(' ', '-'))).toContain(heading);
});
