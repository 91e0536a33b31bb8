/**
 * `npm run test:mutation -- <package> [globs of files to mutate]`: mutation testing. It changes the sources of a package in one
 * place after another, and lists the changes that no test catches. It downloads Stryker, so it is not part of `npm test`.
 *
 * Everything happens in a temporary copy of the committed files, with a copy of `node_modules`. The tests run with fewer random
 * cases: `FC_NUM_RUNS`, or 20 if that is not set. `--tests=<glob>`, which may be repeated, selects tests if the others take too
 * long. Globs are relative to the package's folder.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { ROOT } from './turbo.ts';

const STRYKER = ['@stryker-mutator/core@10.1', '@stryker-mutator/vitest-runner@10.1'];
/** The results that count as caught: a test fails, or does not end. */
const CAUGHT = new Set(['Killed', 'Timeout', 'RuntimeError', 'CompileError']);

/** The fields of Stryker's report that are read here. */
interface Report {
  files: Record<string, { source: string; mutants: Mutant[] }>;
}

interface Mutant {
  status: string;
  mutatorName: string;
  replacement: string;
  location: { start: Place; end: Place };
}

/** Line and column count from 1. */
interface Place {
  line: number;
  column: number;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { tests: { type: 'string', multiple: true, default: ['test/**/*.test.ts'] } },
});
const [name = '', ...globs] = positionals;
if (globSync(`packages/${name || '-'}/package.json`, { cwd: ROOT }).length === 0) {
  throw new Error('usage: npm run test:mutation -- <package> [files...] [--tests=<glob>]');
}

const folder = mkdtempSync(join(tmpdir(), 'svsm-mutation-'));
// The folder is removed even if the script is interrupted.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

const copy = join(folder, 'copy');
const home = join(copy, 'packages', name);
execFileSync('git', ['clone', '--quiet', '--no-hardlinks', ROOT, copy]);
cpSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'), { recursive: true, verbatimSymlinks: true });
npm('install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...STRYKER);
run('tools/run/turbo.ts', ['run', 'build', `--filter=@svsm/${name}^...`, '--output-logs=errors-only'], copy);
configure();
run('../../node_modules/@stryker-mutator/core/bin/stryker.js', ['run', 'mutation.json'], home);
print(JSON.parse(readFileSync(join(home, 'reports/mutation/mutation.json'), 'utf8')));

/** Writes the configuration of Stryker, and one of vitest that first runs the tests that are likely to fail, and fast. */
function configure(): void {
  const mutate = globs.length > 0 ? globs : ['src/**/*.ts', '!src/index.ts'];
  writeFileSync(
    join(home, 'mutation.json'),
    JSON.stringify({
      testRunner: 'vitest',
      plugins: ['@stryker-mutator/vitest-runner'],
      vitest: { configFile: 'mutation.config.ts', related: false },
      mutate,
      // In a sandbox with only the package, the files of the repository above it would be missing.
      inPlace: true,
      coverageAnalysis: 'perTest',
      reporters: ['dots', 'json'],
      concurrency: 1,
      timeoutMS: 3000,
      timeoutFactor: 2,
      dryRunTimeoutMinutes: 30,
    }),
  );
  writeFileSync(
    join(home, 'mutation.config.ts'),
    `import { BaseSequencer, type TestSpecification } from 'vitest/node';
import tests from './vitest.config.ts';

const nouns = ${JSON.stringify(mutate)}.map((glob: string) => glob.split('/').at(-1)!.replace(/\\.ts.*$/, ''));
const rank = ({ moduleId }: TestSpecification) =>
  (nouns.includes(moduleId.split('/').at(-1)!.split('.')[0]!) ? 0 : 1) + (moduleId.includes('.laws.') ? 2 : 0);

class CheapFirst extends BaseSequencer {
  override sort(files: TestSpecification[]) {
    return Promise.resolve([...files].sort((left, right) => rank(left) - rank(right)));
  }
}

export default async (env) => {
  const config = await tests(env);
  config.test.include = ${JSON.stringify(values.tests)};
  config.test.reporters = ['dot'];
  config.test.sequence = { sequencer: CheapFirst };
  return config;
};
`,
  );
}

/** Prints the score of each file, then each change that no test caught: the place, the old code, the new code. */
function print({ files }: Report): void {
  for (const [file, { mutants }] of Object.entries(files)) {
    const count = (status: string) => mutants.filter((mutant) => mutant.status === status).length;
    const caught = mutants.filter(({ status }) => CAUGHT.has(status)).length;
    const percent = ((100 * caught) / (mutants.length || 1)).toFixed(1);
    console.log(
      `${percent.padStart(5)} %  ${file}: ${caught} of ${mutants.length} changes caught, ` +
        `${count('Timeout')} of them by a timeout, ${count('NoCoverage')} in code that no test runs`,
    );
  }
  for (const [file, { source, mutants }] of Object.entries(files)) {
    for (const { status, location, replacement, mutatorName } of mutants) {
      if (CAUGHT.has(status)) continue;
      const { start } = location;
      console.log(`\npackages/${name}/${file}:${start.line}:${start.column}  ${mutatorName}, ${status}`);
      console.log(`  - ${shorten(textAt(source, location))}\n  + ${shorten(replacement)}`);
    }
  }
}

function textAt(source: string, { start, end }: Mutant['location']): string {
  const lines = source.split('\n').slice(start.line - 1, end.line);
  lines.push((lines.pop() ?? '').slice(0, end.column - 1));
  return lines.join('\n').slice(start.column - 1);
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ');
  return line.length > 120 ? `${line.slice(0, 119)}…` : line;
}

function npm(...args: string[]): void {
  execFileSync('npm', args, { cwd: copy, stdio: ['ignore', 2, 2] });
}

/** Runs a script on this Node. Its output goes to stderr, because stdout is for the result only. */
function run(script: string, args: string[], cwd: string): void {
  const { status } = spawnSync(process.execPath, [join(cwd, script), ...args], {
    cwd,
    stdio: ['ignore', 2, 2],
    env: { ...process.env, FC_NUM_RUNS: process.env['FC_NUM_RUNS'] ?? '20', TURBO_TELEMETRY_DISABLED: '1' },
  });
  if (status !== 0) throw new Error(`${script} exits with ${status}`);
}
