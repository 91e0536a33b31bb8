import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { compile } from '../src/editor/compile.ts';
import { GUIDES } from '../src/guides.ts';
import { doorsOf, PACKAGES } from '../src/packages.ts';
import { contents } from '../tools/texts.ts';

const content = fileURLToPath(new URL('../content', import.meta.url));
const read = (file: string) => readFileSync(`${content}/${file}`, 'utf8');
const files = globSync('guide/*.md', { cwd: content }).filter((file) => file !== 'guide/index.md');
const modules = new Map(
  PACKAGES.flatMap(doorsOf).map(({ specifier }) => [specifier, `/packages/${specifier}`]),
);

test('the list of guides has every file', () => {
  expect(GUIDES.map(({ name }) => `guide/${name}.md`).sort()).toEqual(files.sort());
});

test.each(GUIDES)('the guide $name has its title, a description, and a program', ({ name, title }) => {
  const text = read(`guide/${name}.md`);
  expect(text).toMatch(new RegExp(`^---\ntitle: ${title}\ndescription: .+\\.\n---\n\n# ${title}\n`));
  expect(text).toMatch(/^```ts$/m);
});

describe.each([...files, 'index.md'])('the examples of %s', (file) => {
  const programs = [...read(file).matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code!);

  test.each(programs.map((code, index) => [index + 1, code] as const))(
    '%i: the editor removes its types as TypeScript does',
    async (_, code) => {
      const options: ts.CompilerOptions = {
        target: ts.ScriptTarget.ESNext,
        module: ts.ModuleKind.ESNext,
        moduleDetection: ts.ModuleDetectionKind.Force,
        verbatimModuleSyntax: false,
      };
      const expected = ts.transpileModule(code, { compilerOptions: options }).outputText;
      const compiled = await compile(code, modules);
      expect(printed(compiled)).toBe(
        printed(expected)
          .replaceAll("from '@svsm", "from '/packages/@svsm")
          .replaceAll('from "@svsm', 'from "/packages/@svsm'),
      );
    },
  );
});

test('llms.txt links to every guide, package and page of errors', () => {
  const text = contents();
  for (const { name } of GUIDES) expect(text).toContain(`/guide/${name}.md)`);
  for (const name of PACKAGES) {
    expect(text).toContain(`[@svsm/${name}]`);
    expect(text).toContain(`/errors/${name}.md)`);
  }
});

/** JavaScript as TypeScript prints it: without comments, and with its own line breaks. */
function printed(code: string): string {
  const file = ts.createSourceFile('file.js', code, ts.ScriptTarget.Latest, true);
  return ts
    .createPrinter({ removeComments: true })
    .printFile(file)
    .replaceAll(/\n\s*\n/g, '\n');
}
