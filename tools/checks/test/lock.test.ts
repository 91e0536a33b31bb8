/** `npm ci` installs the same files everywhere, from any registry, and without warnings. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import semver from 'semver';
import { expect, test } from 'vitest';
import { enginesToLeaveOut, type LockedPackage } from '../../run/lock.ts';
import { ROOT } from '../workspace.ts';

const lock: { packages: Record<string, LockedPackage> } = readJson('package-lock.json');
const { devDependencies, allowScripts } = readJson('package.json');
const installed = Object.entries(lock.packages).filter(([path]) => path.includes('node_modules/'));

test('the lock names no registry', () => {
  const resolved = installed.filter(([, { resolved }]) => resolved?.includes(':')).map(([path]) => path);
  expect(resolved, 'npm install with the .npmrc of this repository').toEqual([]);
});

test('npm ci does not warn about engines on the oldest Node', () => {
  expect(enginesToLeaveOut(lock.packages), 'run `npm run lock`').toEqual([]);
});

test('every installed package runs on the pinned Node', () => {
  const pinned: string = devDependencies.node;
  const unfit = installed
    .filter(([path]) => existsSync(join(ROOT, path, 'package.json')))
    .map(([path]) => [path, readJson(join(path, 'package.json')).engines?.node] as const)
    .filter(([, range]) => range !== undefined && !semver.satisfies(pinned, range));
  expect(unfit, `these do not run on Node ${pinned}`).toEqual([]);
});

test('every dependency is pinned to one version', () => {
  const loose = Object.entries(devDependencies as Record<string, string>).filter(
    ([, range]) => !semver.valid(range),
  );
  expect(loose, 'write the exact version').toEqual([]);
});

test('every install script is allowed or denied by name', () => {
  const scripts = installed.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path);
  const names = scripts.map((path) => path.replace(/^.*node_modules\//, ''));
  // By name only: without a registry in the lock, npm does not know the version of a package here.
  expect(Object.keys(allowScripts).sort(), 'read the script, then set allowScripts').toEqual(
    [...new Set(names)].sort(),
  );
});

function readJson(file: string) {
  return JSON.parse(readFileSync(join(ROOT, file), 'utf8'));
}
