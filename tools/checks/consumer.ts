/**
 * Installs all packages, as npm would ship them, in a folder outside of the repository. This is done once for all tests: the
 * packages are packed and unpacked under `node_modules`. The folder is removed at the end. Nothing is downloaded.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { PACKAGES, ROOT } from './workspace.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The folder; `problem` says why the packages are not installed there. */
    consumer: { folder: string; problem?: string };
  }
}

let folder: string;

/** The path of a package's tarball. */
export function tarballOf(consumer: string, { name, version }: { name: string; version: string }): string {
  return join(consumer, 'tarballs', `${name.replace('@', '').replace('/', '-')}-${version}.tgz`);
}

export function setup(project: TestProject): void {
  folder = mkdtempSync(join(tmpdir(), 'svsm-consumer-'));
  try {
    install();
    project.provide('consumer', { folder });
  } catch (error) {
    // Tests that need the folder fail with this message; the others still run.
    project.provide('consumer', { folder, problem: String(error) });
  }
}

export function teardown(): void {
  rmSync(folder, { recursive: true, force: true });
}

function install(): void {
  const tarballs = join(folder, 'tarballs');
  mkdirSync(tarballs);
  const workspaces = PACKAGES.map(({ name }) => `--workspace=packages/${name}`);
  execFileSync(
    'npm',
    ['pack', '--silent', '--ignore-scripts', `--pack-destination=${tarballs}`, ...workspaces],
    { cwd: ROOT },
  );

  for (const { manifest } of PACKAGES) {
    const target = join(folder, 'node_modules', manifest.name);
    mkdirSync(target, { recursive: true });
    execFileSync('tar', ['-xzf', tarballOf(folder, manifest), '-C', target, '--strip-components=1']);
  }
  // TypeScript users also have the types of Node; examples need them for `console`.
  mkdirSync(join(folder, 'node_modules/@types'));
  for (const types of ['@types/node', 'undici-types']) {
    symlinkSync(join(ROOT, 'node_modules', types), join(folder, 'node_modules', types), 'junction');
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
}
