/** Two versions of a package side by side, as `npm update` can leave them: examples compile and run, and objects cross. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import process from 'node:process';
import ts from 'typescript';
import { beforeAll, expect, inject, test } from 'vitest';
import { ACROSS } from '../../run/across-versions.ts';
import { type Fence, fencesOf } from '../fences.ts';
import { PACKAGES } from '../workspace.ts';

const { folder, problem } = inject('consumer');
const node = process.env['HOST_NODE'] ?? process.execPath;
const LOWER = ['address', 'memory-region'];
const UPPER = PACKAGES.map(({ name }) => name).filter((name) => !LOWER.includes(name));
const home = join(folder, 'two-versions');
const modules = join(home, 'node_modules/@svsm');

const EXAMPLES: readonly Fence[] = [
  'README.md',
  ...PACKAGES.map(({ name }) => `packages/${name}/README.md`),
].flatMap((file) =>
  fencesOf(file)
    .filter(({ info }) => info === 'ts')
    .slice(0, 1),
);

beforeAll(() => {
  if (problem) throw new Error(`packing failed: ${problem}`);
  install('.', LOWER);
  install('.', UPPER);
  // Each of the others has later versions of its own.
  for (const name of UPPER) install(join(name, 'node_modules/@svsm'), LOWER, '0.98.0');
  install('.', ['memory-region'], '0.99.0', 'other-region');
  install('other-region/node_modules/@svsm', ['address'], '0.99.0');
  mkdirSync(join(home, 'node_modules/@types'));
  for (const types of ['@types/node', 'undici-types']) {
    symlinkSync(join(folder, 'node_modules', types), join(home, 'node_modules', types), 'junction');
  }
  writeFileSync(join(home, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
});

/** Copies packages, with another version than they have. The compiler takes equal names and versions for the same package. */
function install(place: string, names: readonly string[], version?: string, as?: string): void {
  for (const name of names) {
    const target = join(modules, place, as ?? name);
    cpSync(join(folder, 'node_modules/@svsm', name), target, { recursive: true });
    if (version === undefined) continue;
    const file = join(target, 'package.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...manifest, version }));
  }
}

/** The compiler's messages, by the name of the program. All are compiled at once, because the time goes to the declarations. */
function compile(programs: Record<string, string>): Record<string, string[]> {
  const elsewhere: string[] = [];
  const problems: Record<string, string[]> = { elsewhere };
  for (const [name, code] of Object.entries(programs)) {
    writeFileSync(join(home, `${name}.ts`), code);
    problems[name] = [];
  }
  const files = Object.keys(programs).map((name) => join(home, `${name}.ts`));
  const program = ts.createProgram(files, {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    lib: ['lib.es2022.d.ts'],
    types: ['node'],
    strict: true,
    noEmit: true,
  });
  for (const { file, messageText } of ts.getPreEmitDiagnostics(program)) {
    const name = basename(file?.fileName ?? '', '.ts');
    (problems[name] ?? elsewhere).push(ts.flattenDiagnosticMessageText(messageText, '\n'));
  }
  return problems;
}

/** The lines that the program prints. Node 20 does not strip types. */
function run(code: string, name: string): string[] {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  const file = join(home, `${name}.mjs`);
  writeFileSync(file, outputText);
  return execFileSync(node, [file], { encoding: 'utf8' }).trimEnd().split('\n');
}

test('objects of one version go into functions of the other', () => {
  expect(run(ACROSS, 'across')).toEqual([
    'true true true [0xffff800000000000-0xffff800000200000)',
    '4 true false',
    '4 true false',
    '1 mine',
    '0',
  ]);
});

test.each(EXAMPLES.map((fence) => [fence.at, fence] as const))('%s runs', (at, { code, prints }) => {
  expect(run(code, nameOf(at))).toEqual(prints);
});

test('all of them compile', () => {
  const programs = Object.fromEntries(EXAMPLES.map(({ at, code }) => [nameOf(at), code]));
  const problems = compile({ across: ACROSS, ...programs });
  expect(Object.entries(problems).filter(([, messages]) => messages.length > 0)).toEqual([]);
});

function nameOf(at: string): string {
  return at.replaceAll(/\W/g, '-');
}
