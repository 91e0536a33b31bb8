/**
 * `npm run release`: publishes the packages whose versions the registry does not have. It stops before it publishes anything if
 * the tree is not committed, a changeset waits or is missing, the registry does not answer, a patch changes declarations, or a
 * test fails.
 *
 * `npm run release -- --pack FOLDER` only writes the tarballs and `publish-plan.json`, for a job that publishes them and does nothing
 * else. It runs no tests: another job has done so. Without anything to publish, the plan is empty.
 *
 * After a failure in the middle, run it again: it publishes what is missing.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import semver from 'semver';
import { apiOf, differences } from './api.ts';
import { ROOT, turbo } from './turbo.ts';

interface Package {
  readonly name: string;
  readonly version: string;
  /** The folder, relative to the root. */
  readonly folder: string;
}

const { values } = parseArgs({ options: { pack: { type: 'string' } } });
const temporary = mkdtempSync(join(tmpdir(), 'svsm-release-'));
process.once('exit', () => rmSync(temporary, { recursive: true, force: true }));

try {
  release(values.pack === undefined ? undefined : resolve(process.env['INIT_CWD'] ?? '.', values.pack));
} catch (error) {
  console.error(`Nothing is published. ${(error as Error).message}`);
  process.exitCode = 1;
}

function release(packFolder: string | undefined): void {
  checkTree();
  const packages = readPackages();
  const published = packages.filter(isPublished);
  for (const one of published) checkUnchanged(one);
  if (packFolder === undefined && published.length === packages.length) {
    throw new Error(
      `The registry has every version: ${list(packages)}. Add a changeset, then npm run version-packages.`,
    );
  }
  // Nothing from a cache goes to users.
  process.env['TURBO_FORCE'] ??= 'true';
  if (turbo(['run', 'build', '--filter=./packages/*']) !== 0) throw new Error('The build fails.');
  for (const one of packages) if (!published.includes(one)) checkPatch(one);
  if (packFolder === undefined) run('npm', ['test'], 'A test fails.');
  const tarballs = packFolder ?? join(temporary, 'tarballs');
  changeset(['pack', `--out-dir=${tarballs}`], 'A package cannot be packed.');
  if (packFolder !== undefined) return;
  if (spawn('npx', ['changeset', 'publish', `--from-pack-dir=${tarballs}`]) === 0) return;
  const missing = packages.filter((one) => !isPublished(one));
  process.exitCode = 1;
  console.error(
    `The release is incomplete: the registry lacks ${list(missing)}. Remove the cause, then run npm run release again.`,
  );
}

/** The tarballs must be made of a commit, with versions that were made from the changesets. */
function checkTree(): void {
  const changes = execFileSync('git', ['status', '--porcelain'], { cwd: ROOT, encoding: 'utf8' });
  if (changes !== '') throw new Error(`The tree has changes that are not committed:\n${changes.trimEnd()}`);
  const waiting = globSync('.changeset/*.md', { cwd: ROOT }).filter((file) => !file.endsWith('README.md'));
  if (waiting.length > 0) {
    throw new Error(
      `Changesets wait: run npm run version-packages and commit the result.\n${waiting.join('\n')}`,
    );
  }
}

function readPackages(): Package[] {
  return globSync('packages/*/package.json', { cwd: ROOT })
    .sort()
    .map((file) => ({ ...JSON.parse(readFileSync(join(ROOT, file), 'utf8')), folder: dirname(file) }));
}

function isPublished({ name, version }: Package): boolean {
  return publishedVersion(name, version) !== undefined;
}

/** The version of a package that the registry has; `undefined` if it has none. `version` may be a tag. */
function publishedVersion(name: string, version: string): string | undefined {
  const args = ['view', `${name}@${version}`, 'version', '--json', '--prefer-online', '--fetch-retries=1'];
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd: ROOT, encoding: 'utf8' });
  // npm prints nothing for a version that a package does not have, and E404 for a package that does not exist.
  if (status === 0) return stdout.trim() === '' ? undefined : JSON.parse(stdout);
  const { error } = JSON.parse(stdout || '{}') as { error?: { code?: string; summary?: string } };
  if (error?.code === 'E404') return undefined;
  throw new Error(
    `The registry does not answer for ${name}: ${error?.summary ?? error?.code ?? stderr.trim()}`,
  );
}

/** Packages that are published are built against this source; the one on the registry must have the same. */
function checkUnchanged({ name, version, folder }: Package): void {
  const target = unpack(name, version);
  const sources = (at: string): string[] => globSync('src/**/*.ts', { cwd: at }).sort();
  const here = join(ROOT, folder);
  const names = [...new Set([...sources(target), ...sources(here)])];
  const changed = names.filter((name) => textOf(join(target, name)) !== textOf(join(here, name)));
  if (changed.length > 0) {
    throw new Error(
      `${name} has changed since version ${version}, which the registry has: ${changed.join(', ')}. A changeset is missing.`,
    );
  }
}

/** A patch has the declarations of the version before it, so that users of both can mix their types. */
function checkPatch({ name, version, folder }: Package): void {
  const before = publishedVersion(name, 'latest');
  if (before === undefined || semver.diff(before, version) !== 'patch') return;
  const changes = differences(apiOf(unpack(name, before)), apiOf(join(ROOT, folder)));
  if (changes.length === 0) return;
  throw new Error(
    `${name}@${version} is a patch, but its declarations are not those of ${before}. It must be a minor version:\n${changes.join('\n')}`,
  );
}

/** Downloads a version of a package. Returns the folder with its files. */
function unpack(name: string, version: string): string {
  const target = mkdtempSync(join(temporary, 'published-'));
  const args = ['pack', `${name}@${version}`, '--silent', `--pack-destination=${target}`];
  const file = execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8' }).trim();
  execFileSync('tar', ['-xzf', join(target, file), '-C', target, '--strip-components=1']);
  return target;
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function changeset(args: string[], problem: string): void {
  run('npx', ['changeset', ...args], problem);
}

function run(command: string, args: string[], problem: string): void {
  if (spawn(command, args) !== 0) throw new Error(problem);
}

function spawn(command: string, args: string[]): number {
  return spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' }).status ?? 1;
}

function list(packages: readonly Package[]): string {
  return packages.map(({ name, version }) => `${name}@${version}`).join(', ');
}
