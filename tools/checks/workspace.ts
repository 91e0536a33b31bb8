/** The workspaces of this repository, and the imports of their files. */
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url)).replace(/[/\\]$/, '');

interface Manifest {
  name: string;
  version: string;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  [field: string]: unknown;
}

export interface Workspace {
  /** The name of its folder: `pagetable`. */
  name: string;
  /** The absolute path of its folder. */
  folder: string;
  manifest: Manifest;
}

/** The published packages. */
export const PACKAGES: readonly Workspace[] = workspacesIn('packages');
/** The private programs that use them. */
export const EXAMPLES: readonly Workspace[] = workspacesIn('examples');
/** The private pages that use packages and examples. */
export const APPS: readonly Workspace[] = workspacesIn('apps');

/** The files of a workspace that match `pattern`, as sorted paths relative to it, with `/` between folders. */
export function filesOf({ folder }: Workspace, pattern: string): string[] {
  return globSync(pattern, { cwd: folder })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => !file.includes('node_modules/'))
    .sort();
}

export function read({ folder }: Workspace, file: string): string {
  return readFileSync(join(folder, file), 'utf8');
}

/** The module names that a TypeScript file imports, re-exports or loads, as they are written; type imports too. */
export function importsOf(workspace: Workspace, file: string): string[] {
  return ts.preProcessFile(read(workspace, file)).importedFiles.map(({ fileName }) => fileName);
}

function workspacesIn(parent: string): Workspace[] {
  const path = join(ROOT, parent);
  if (!existsSync(path)) return [];
  return readdirSync(path)
    .map((name) => ({ name, folder: join(path, name) }))
    .filter(({ folder }) => existsSync(join(folder, 'package.json')))
    .map((at) => ({ ...at, manifest: JSON.parse(readFileSync(join(at.folder, 'package.json'), 'utf8')) }));
}
