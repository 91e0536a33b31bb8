/**
 * `npm run test:matrix`: the packed packages on every runtime and with the oldest and newest TypeScript that they support.
 * It downloads those, so it is not part of `npm test`.
 *
 * Each runtime runs the examples of all documents and docstrings. Each TypeScript compiles the type tests of all packages
 * against the declarations as they are shipped.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import process from 'node:process';
import { ROOT, turbo } from './turbo.ts';

const RUNTIMES = ['node@20.19', 'node@22', 'node@24', 'node@26', 'deno@2', 'bun@1'];
const COMPILERS = ['typescript@5.5', 'typescript@7'];

const folder = mkdtempSync(join(tmpdir(), 'svsm-matrix-'));
let failed = 0;
try {
  if (turbo(['run', 'build'], { quiet: true }) !== 0) throw new Error('the build fails');
  for (const runtime of RUNTIMES) {
    const binary = install(runtime, runtime.split('@')[0]!);
    report(runtime, 'npx', ['vitest', 'run', 'test/documents.test.ts'], 'tools/checks', {
      HOST_NODE: binary,
    });
  }
  const consumer = unpackTypeTests();
  for (const compiler of COMPILERS) {
    report(compiler, install(compiler, 'tsc'), ['--project', '.'], consumer);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed === 0 ? 0 : 1;

/** Installs an npm package in its own folder. Returns the path of one of its commands. */
function install(spec: string, command: string): string {
  const home = join(folder, spec);
  mkdirSync(home);
  writeFileSync(
    join(home, 'package.json'),
    '{ "private": true, "allowScripts": { "node": true, "deno": true, "bun": true } }',
  );
  execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', spec], { cwd: home });
  return join(home, 'node_modules/.bin', command);
}

/** Installs the packed packages, and copies the type tests with imports by package name. Returns the folder. */
function unpackTypeTests(): string {
  const consumer = join(folder, 'consumer');
  mkdirSync(join(consumer, 'node_modules/@svsm'), { recursive: true });
  writeFileSync(join(consumer, 'package.json'), '{ "private": true, "type": "module" }');
  const strict = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true };
  const compilerOptions = {
    ...strict,
    noEmit: true,
    target: 'es2022',
    lib: ['es2022', 'esnext.disposable'],
    module: 'nodenext',
    types: [],
  };
  writeFileSync(join(consumer, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  for (const name of globSync('packages/*', { cwd: ROOT }).map((path) => basename(path))) {
    const [{ filename }] = JSON.parse(
      execFileSync('npm', ['pack', '--json', '--ignore-scripts', `--pack-destination=${folder}`], {
        cwd: join(ROOT, 'packages', name),
      }).toString(),
    ) as [{ filename: string }];
    const target = join(consumer, 'node_modules/@svsm', name);
    mkdirSync(target);
    execFileSync('tar', ['-xzf', join(folder, basename(filename)), '-C', target, '--strip-components=1']);
    for (const file of globSync(`packages/${name}/test/**/*.test-d.ts`, { cwd: ROOT })) {
      const text = readFileSync(join(ROOT, file), 'utf8').replaceAll(
        /'(?:\.\.\/)+src\/[\w/-]+\.ts'/g,
        `'@svsm/${name}'`,
      );
      writeFileSync(join(consumer, `${name}-${basename(file)}`), text);
    }
  }
  return consumer;
}

function report(
  what: string,
  command: string,
  args: string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): void {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: join(cwd.startsWith('/') ? '' : ROOT, cwd),
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  const tests = /Tests\s+(.*)/.exec(stripColours(stdout))?.[1] ?? '';
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'}  ${what.padEnd(16)} ${tests}`.trimEnd());
  if (status === 0) return;
  failed += 1;
  console.log(stdout, stderr);
}

function stripColours(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
  return text.replaceAll(/\u001b\[[0-9;]*m/g, '');
}
