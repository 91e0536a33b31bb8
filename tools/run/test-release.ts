/**
 * `npm run test:release`: releases of the last commit, from a clone of it, to a registry on this machine. It tries what must stop
 * a release, a release that fails in the middle and its repetition, and a minor version of a base; then what the registry
 * shows, and projects that update in part. The tests of the clone are left out: `npm test` runs them.
 */
import assert from 'node:assert/strict';
import { execFileSync, type SpawnSyncReturns } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import semver from 'semver';
import { ACROSS } from './across-versions.ts';
import { get, Registry, type RegistryDocument } from './registry.ts';
import { ScratchClone } from './scratch-clone.ts';
import { ROOT } from './turbo.ts';

/** Options of npm in projects. Ranges come from the registry as it is now. */
const QUIET = ['--silent', '--no-audit', '--no-fund', '--prefer-online', '--ignore-scripts'];

const folder = mkdtempSync(join(tmpdir(), 'svsm-release-test-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

const registry = await Registry.start(join(folder, 'registry'));
// Each version is built once.
const environment = { ...registry.environment, TURBO_FORCE: 'false' };
const clone = new ScratchClone(join(folder, 'clone'), environment);
assert.equal(clone.must('npm', 'config', 'get', '@svsm:registry').trim(), registry.url);
let passed = 0;
let failed = 0;

try {
  await stops();
  await firstRelease();
  await minorOfABase();
} finally {
  await registry.stop();
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

/** Each obstacle stops a release before anything is published. */
async function stops(): Promise<void> {
  await step('changesets that wait stop a release', () =>
    stopsWith(/Changesets wait.*npm run version-packages/s),
  );
  clone.must('npm', 'run', 'version-packages');
  await step('a dirty tree stops a release', () =>
    stopsWith(/not committed:\n.*packages\/address\/package\.json/s),
  );
  clone.commit('Version packages');
  await step('an unreachable registry stops a release', async () => {
    await registry.stop();
    const result = release();
    await registry.restart();
    assertStopped(result, /The registry does not answer for @svsm\/address/);
  });
  setTest('echo 1 failed && exit 1');
  await step('a failing test stops a release', () => stopsWith(/A test fails\./));
  setTest('echo 1 passed, 0 failed');
}

async function firstRelease(): Promise<void> {
  await registry.restart(['@svsm/pagetable']);
  await step('a release that fails in the middle says what is missing', async () => {
    const { status, stderr } = release();
    assert.equal(status, 1);
    assert.match(stderr, /The release is incomplete: the registry lacks .*@svsm\/pagetable@/);
    assert.notEqual(await registry.document('@svsm/address'), undefined);
    assert.equal(await registry.document('@svsm/sev-snp'), undefined);
  });
  await registry.restart();
  await step('repeated, it publishes the rest', async () => {
    succeeds(release());
    for (const name of names()) assert.deepEqual(await versionsOf(name), [manifestOf(name).version], name);
  });
  await step('the registry shows versions, tags, ranges, licence, files and sizes', shown);
  await step('a release of versions that are there stops', () =>
    stopsWith(/The registry has every version: @svsm\/address@/),
  );
  await step('a change without a changeset stops a release', async () => {
    const file = 'packages/address/src/index.ts';
    const before = clone.read(file);
    clone.write(file, `${before}// changed\n`);
    clone.commit('Change without a changeset');
    await stopsWith(/@svsm\/address has changed since version .*: src\/index\.ts\. A changeset is missing\./);
    clone.write(file, before);
    clone.commit('Undo');
  });
  await step('a patch that changes a declaration stops a release', async () => {
    const file = 'packages/address/src/page-size.ts';
    clone.write(file, `${clone.read(file)}export const PAGE_SHIFT_OF_TEST = 12;\n`);
    const index = 'packages/address/src/index.ts';
    clone.write(index, `${clone.read(index)}export { PAGE_SHIFT_OF_TEST } from './page-size.ts';\n`);
    clone.must('npx', 'changeset', 'add', '--patch', '@svsm/address', '--message', 'A test.');
    clone.must('npm', 'run', 'version-packages');
    clone.commit('Change a declaration by a patch');
    await stopsWith(
      /@svsm\/address@\S+ is a patch.*minor version:\n.*\+ export declare const PAGE_SHIFT_OF_TEST/s,
    );
    clone.must('git', 'revert', '--no-edit', 'HEAD');
  });
}

async function minorOfABase(): Promise<void> {
  const before = new Map(names().map((name) => [name, manifestOf(name).version]));
  const changed = '@svsm/memory-region';
  clone.must('npx', 'changeset', 'add', '--minor', changed, '--message', 'A test.');
  const address = clone.read('packages/address/src/index.ts');
  clone.write('packages/address/src/index.ts', `${address}// changed\n`);
  clone.must('npx', 'changeset', 'add', '--patch', '@svsm/address', '--message', 'A test.');
  clone.must('npm', 'run', 'version-packages');
  clone.commit('Version packages again');
  await step('a minor version of a base is one for its dependents, a patch is not', async () => {
    succeeds(release());
    for (const [name, old] of before) {
      const bump = name === '@svsm/address' ? 'patch' : 'minor';
      const document = await documentOf(name);
      assert.deepEqual(Object.keys(document.versions), [old, semver.inc(old, bump)], name);
      assert.equal(document['dist-tags']['latest'], semver.inc(old, bump), name);
    }
  });
  const user = project('update-in-part', before);
  await step('npm update takes no half of a release', () => {
    execFileSync('npm', ['update', ...QUIET], user);
    assert.equal(installed(user.cwd, '@svsm/memory-region'), before.get('@svsm/memory-region'));
    assert.equal(installed(user.cwd, '@svsm/pagetable'), before.get('@svsm/pagetable'));
    assert.equal(installed(user.cwd, '@svsm/address'), manifestOf('@svsm/address').version);
    assert.equal(installed(user.cwd, '@svsm/pagetable/node_modules/@svsm/memory-region'), undefined);
    compileAndRun(user);
  });
  await step('two versions side by side compile and run, and objects go across', () => {
    const other = '@svsm/other-region@npm:@svsm/memory-region@latest';
    execFileSync('npm', ['install', '@svsm/pagetable@latest', '@svsm/sev-snp@latest', other, ...QUIET], user);
    assert.equal(installed(user.cwd, '@svsm/memory-region'), before.get('@svsm/memory-region'));
    assert.equal(
      installed(user.cwd, '@svsm/pagetable/node_modules/@svsm/memory-region'),
      manifestOf('@svsm/memory-region').version,
    );
    compileAndRun(user, { 'across.ts': ACROSS });
  });
}

/** Publishes as users of this repository do. */
function release(): SpawnSyncReturns<string> {
  return clone.run('npm', 'run', 'release');
}

async function stopsWith(message: RegExp): Promise<void> {
  const before = await Promise.all(names().map(versionsOf));
  assertStopped(release(), message);
  assert.deepEqual(await Promise.all(names().map(versionsOf)), before, 'something was published');
}

function assertStopped({ status, stdout, stderr }: SpawnSyncReturns<string>, message: RegExp): void {
  assert.equal(status, 1, stdout);
  assert.match(stderr, /^Nothing is published\. /m);
  assert.match(stderr, message);
}

function succeeds({ status, stdout, stderr }: SpawnSyncReturns<string>): void {
  assert.equal(status, 0, `${stdout}\n${stderr}`);
}

function setTest(script: string): void {
  const manifest = clone.json('package.json') as { scripts: Record<string, string> };
  manifest.scripts['test'] = script;
  clone.write('package.json', `${JSON.stringify(manifest, null, 2)}\n`);
  clone.commit(`Test with ${script}`);
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Record<string, string>;
}

function manifestOf(name: string): Manifest {
  return clone.json(`packages/${name.replace('@svsm/', '')}/package.json`) as unknown as Manifest;
}

function names(): string[] {
  const tracked = clone.must('git', 'ls-files', 'packages/*/package.json').trim().split('\n');
  return tracked.map((file) => file.replace(/^packages\/(.*)\/package\.json$/, '@svsm/$1'));
}

async function documentOf(name: string): Promise<RegistryDocument> {
  const document = await registry.document(name);
  assert.ok(document, `the registry has no ${name}`);
  return document;
}

async function versionsOf(name: string): Promise<string[]> {
  return Object.keys((await registry.document(name))?.versions ?? {});
}

async function shown(): Promise<void> {
  console.log('  package              version  packed  unpacked  files  dependencies');
  for (const name of names()) {
    const { 'dist-tags': tags, versions } = await documentOf(name);
    const { version, dependencies = {} } = manifestOf(name);
    assert.deepEqual(tags, { latest: version });
    const shown = versions[version];
    assert.ok(shown);
    assert.equal(shown.license, 'MIT');
    assert.deepEqual(shown.dependencies ?? {}, dependencies);
    for (const [sibling, range] of Object.entries(dependencies)) {
      if (sibling.startsWith('@svsm/')) assert.equal(range, `^${manifestOf(sibling).version}`);
    }
    const tarball = join(folder, 'shown.tgz');
    writeFileSync(tarball, (await get(shown.dist.tarball)).body);
    const lines = execFileSync('tar', ['-tvzf', tarball], { encoding: 'utf8' }).trim().split('\n');
    const files = lines.map((line) => line.replace(/^.* package\//, ''));
    for (const file of [
      'package.json',
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
      'dist/index.js',
      'dist/index.d.ts',
      'src/index.ts',
    ]) {
      assert.ok(files.includes(file), `${name} has no ${file}`);
    }
    const size = lines.reduce((sum, line) => sum + Number(line.split(/\s+/)[2]), 0);
    const kilobytes = (bytes: number): string => `${Math.round(bytes / 1000)} kB`;
    const packed = kilobytes(readFileSync(tarball).length).padStart(6);
    console.log(
      `  ${name.padEnd(20)} ${version.padEnd(7)} ${packed}  ${kilobytes(size).padStart(8)}  ${String(files.length).padStart(5)}  ` +
        Object.entries(dependencies)
          .map(([sibling, range]) => `${sibling.replace('@svsm/', '')} ${range}`)
          .join(', '),
    );
  }
}

interface Project {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

/** A project that has installed the first versions, with carets. */
function project(name: string, versions: ReadonlyMap<string, string>): Project {
  const cwd = join(folder, name);
  mkdirSync(cwd);
  const dependencies = Object.fromEntries([...versions].map(([name, version]) => [name, `^${version}`]));
  writeFileSync(join(cwd, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies }));
  const user = { cwd, env: environment };
  execFileSync(
    'npm',
    ['install', ...[...versions].map(([name, version]) => `${name}@^${version}`), ...QUIET],
    user,
  );
  return user;
}

function installed(cwd: string, path: string): string | undefined {
  try {
    return JSON.parse(readFileSync(join(cwd, 'node_modules', path, 'package.json'), 'utf8')).version;
  } catch {
    return undefined;
  }
}

/** Compiles and runs the first example of the README and of pagetable's, and other programs. */
function compileAndRun({ cwd }: Project, others: Readonly<Record<string, string>> = {}): void {
  linkTypes(cwd);
  const first = (file: string): string => /^```ts\n(.*?)^```/ms.exec(clone.read(file))![1]!;
  const programs = {
    'example.ts': first('README.md'),
    'pagetable.ts': first('packages/pagetable/README.md'),
    ...others,
  };
  for (const [file, text] of Object.entries(programs)) writeFileSync(join(cwd, file), text);
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  const options = [
    '--noEmit',
    '--strict',
    '--target',
    'es2022',
    '--lib',
    'es2022',
    '--module',
    'nodenext',
    '--types',
    'node',
  ];
  execFileSync(process.execPath, [tsc, ...options, '--skipLibCheck', 'false', ...Object.keys(programs)], {
    cwd,
  });
  for (const file of Object.keys(programs)) execFileSync(process.execPath, [file], { cwd });
}

/** Gives a project the types of Node. npm removes them when it changes the project: the manifest does not name them. */
function linkTypes(cwd: string): void {
  mkdirSync(join(cwd, 'node_modules/@types'), { recursive: true });
  for (const types of ['@types/node', 'undici-types']) {
    const link = join(cwd, 'node_modules', types);
    rmSync(link, { recursive: true, force: true });
    symlinkSync(join(ROOT, 'node_modules', types), link);
  }
}

async function step(title: string, run: () => void | Promise<void>): Promise<void> {
  const start = Date.now();
  try {
    await run();
    passed += 1;
    console.log(`ok      ${title} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    const { stdout = '', stderr = '' } = error as { stdout?: Buffer; stderr?: Buffer };
    console.log(`FAILED  ${title}\n${(error as Error).message}\n${stdout}${stderr}`);
  }
}
