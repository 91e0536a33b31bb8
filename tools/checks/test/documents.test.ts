/**
 * Every TypeScript example in a document or a docstring compiles against the packed packages, as users install them, runs,
 * and prints the lines of its `// =>` comments. It runs on the Node that started npm.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import ts from 'typescript';
import { beforeAll, expect, inject, test } from 'vitest';
import { DOCUMENTS, type Fence, fencesOf, SOURCES, tagsWithoutFence } from '../fences.ts';
import { ROOT } from '../workspace.ts';

const { folder, problem } = inject('consumer');
const node = process.env['HOST_NODE'] ?? process.execPath;

/** How users resolve modules: as Node does, and as bundlers do. The first one also emits the JavaScript that is run. */
const RESOLVERS = {
  nodenext: { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext },
  bundler: { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler },
};

const fences = [...DOCUMENTS, ...SOURCES].flatMap(fencesOf);
const examples = fences.filter(({ info }) => info === 'ts' || info === 'ts no-run');
/** The messages of TypeScript, by the place of the example; by the file's name for a file that is not an example. */
const problems = new Map<string, string[]>();

beforeAll(() => {
  if (problem) throw new Error(`packing failed: ${problem}`);
  mkdirSync(join(folder, 'examples'));
  for (const example of examples) writeFileSync(sourceOf(example), example.code);
  for (const resolver of ['nodenext', 'bundler'] as const) compile(resolver);
}, 120_000);

test.each(DOCUMENTS)('%s exists', (document) => {
  expect(existsSync(join(ROOT, document)), `write ${document}`).toBe(true);
});

test('TypeScript in documents and docstrings is marked `ts` or `ts no-run`, so that it is checked', () => {
  const others = fences
    .filter(({ info }) => /^(ts|typescript|tsx|js|javascript|mjs)\b/i.test(info))
    .filter(({ info }) => info !== 'ts' && info !== 'ts no-run')
    .map(({ at, info }) => `${at}: ${info}`);
  expect(others, 'mark these ```ts, or ```text if they are not code').toEqual([]);
});

test('an `@example` of a docstring is a fence that is marked so', () => {
  const bare = SOURCES.flatMap((file) => tagsWithoutFence(readFileSync(join(ROOT, file), 'utf8'), file));
  expect(bare, 'put a ```ts fence below these tags').toEqual([]);
});

test('the declarations of the packages compile without skipLibCheck', () => {
  const places = new Set(examples.map(({ at }) => at));
  const others = [...problems].filter(([place]) => !places.has(place)).flatMap(([, messages]) => messages);
  expect(others).toEqual([]);
});

test.concurrent.each(examples.map((example) => [example.at, example] as const))('%s', async (at, example) => {
  expect(problems.get(at) ?? [], 'TypeScript').toEqual([]);
  if (example.info === 'ts no-run') return;
  const { stdout } = await promisify(execFile)(node, [outputOf(example)], { cwd: folder });
  if (example.prints.length === 0) return;
  const printed = stdout.split('\n').map((line) => line.trimEnd());
  if (printed.at(-1) === '') printed.pop();
  expect(printed, 'the printed lines must be those of the `// =>` comments, in order').toEqual(
    example.prints,
  );
});

function sourceOf(example: Fence): string {
  return join(folder, 'examples', `${fileName(example)}.ts`);
}

function outputOf(example: Fence): string {
  return join(folder, 'out', `${fileName(example)}.js`);
}

function fileName({ at }: Fence): string {
  return at.replace(/\W+/g, '_');
}

function compile(resolver: keyof typeof RESOLVERS): void {
  const program = ts.createProgram(examples.map(sourceOf), {
    ...RESOLVERS[resolver],
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2025.d.ts', 'lib.esnext.disposable.d.ts'],
    types: ['node'],
    typeRoots: [join(folder, 'node_modules/@types')],
    moduleDetection: ts.ModuleDetectionKind.Force,
    strict: true,
    skipLibCheck: false,
    rootDir: join(folder, 'examples'),
    outDir: join(folder, 'out'),
    noEmit: resolver !== 'nodenext',
  });
  const { diagnostics } = program.emit();
  for (const diagnostic of [...ts.getPreEmitDiagnostics(program), ...diagnostics]) {
    const { file, start = 0, messageText } = diagnostic;
    const place =
      examples.find((example) => file && sourceOf(example) === file.fileName)?.at ?? file?.fileName ?? '';
    const line = file ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
    const message = `${resolver}: line ${line} of ${place}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    problems.set(place, [...(problems.get(place) ?? []), message]);
  }
}
