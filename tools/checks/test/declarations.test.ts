/** The shipped declarations: they show what users can use, an editor goes from them to `src`, and classes are structural. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { PACKAGES } from '../workspace.ts';

const { folder, problem } = inject('consumer');

beforeAll(() => {
  if (problem) throw new Error(`packing failed: ${problem}`);
});

describe.each(PACKAGES.map((p) => [p.manifest.name] as const))('%s', (name) => {
  const home = join(folder, 'node_modules', name);
  const declarations = globSync('dist/**/*.d.ts', { cwd: home }).sort();
  const read = (file: string): string => readFileSync(join(home, file), 'utf8');

  test('no class has a member that makes two installed versions differ', () => {
    expect(declarations).not.toEqual([]);
    expect(declarations.filter((file) => /^\s*#private/m.test(read(file)))).toEqual([]);
  });

  test('every class is exported by an entry point', () => {
    const names = new Set(
      declarations
        .filter((file) => /(?:^|\/)index\.d\.ts$/.test(file))
        .flatMap((file) => read(file).match(/\w+/g) ?? []),
    );
    const classes = declarations.flatMap((file) =>
      [...read(file).matchAll(/^export declare (?:abstract )?class (\w+)/gm)].map((match) => match[1]!),
    );
    expect(
      classes.filter((one) => !names.has(one)),
      'a public declaration shows these',
    ).toEqual([]);
  });

  test('every declaration has a map to the line of src that declares the same', () => {
    for (const file of declarations) {
      const map = new SourceMap(JSON.parse(read(`${file}.map`)));
      const tree = ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest, true);
      for (const node of tree.statements.filter(
        (one) => ts.isClassDeclaration(one) || ts.isInterfaceDeclaration(one),
      )) {
        for (const member of [node, ...node.members]
          .map(({ name: one }) => one)
          .filter((one) => one !== undefined)) {
          const { line, character } = tree.getLineAndCharacterOfPosition(member.getStart());
          const { originalSource, originalLine } = map.findEntry(line, character) as {
            originalSource: string;
            originalLine: number;
          };
          const source = join(dirname(file), originalSource);
          expect(source).toMatch(/^src\//);
          expect(read(source).split('\n')[originalLine], `${file}:${line + 1}`).toContain(member.getText());
        }
      }
    }
  });

  test('maps name the sources of the tarball, and do not repeat them', () => {
    for (const file of globSync('dist/**/*.map', { cwd: home })) {
      const { sources, sourcesContent } = JSON.parse(read(file)) as {
        sources: string[];
        sourcesContent?: string[];
      };
      expect(
        sources.filter((source) => !existsSync(join(home, dirname(file), source))),
        file,
      ).toEqual([]);
      expect(sourcesContent ?? [], file).toEqual([]);
    }
  });
});
