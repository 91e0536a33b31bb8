/** The packages of the repository, and the modules that each exports. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The root of the repository, with a slash at its end. */
export const ROOT: string = fileURLToPath(new URL('../../../', import.meta.url));

/** The packages, from the lowest layer to the highest. */
export const PACKAGES = [
  'address',
  'memory-region',
  'buddy-alloc',
  'pagetable',
  'dump',
  'sev-snp',
  'mm',
] as const;

export type PackageName = (typeof PACKAGES)[number];

/** A module that users import. */
export interface Door {
  /** The name by which it is imported: `@svsm/sev-snp/rmp`. */
  readonly specifier: string;
  readonly package: PackageName;
  /** The name of the sub-path: `rmp`; empty for the package itself. */
  readonly room: string;
}

/** The modules that a package exports, as its package.json has them. */
export function doorsOf(name: PackageName): Door[] {
  const { exports }: { exports: Record<string, unknown> } = JSON.parse(readSource(name, 'package.json'));
  return Object.keys(exports)
    .filter((path) => path !== './package.json')
    .map((path) => path.slice('./'.length))
    .map((room) => ({ specifier: `@svsm/${name}${room ? `/${room}` : ''}`, package: name, room }));
}

/** The modules whose docstrings make the reference: a package, or its rooms if it only repeats what they export. */
export function documentedDoorsOf(name: PackageName): Door[] {
  const doors = doorsOf(name);
  const index = readSource(name, 'src/index.ts');
  return doors.filter(({ room }) => room !== '' || !/^export \* from/m.test(index));
}

/** The text of a file of a package. */
export function readSource(name: PackageName, file: string): string {
  return readFileSync(`${ROOT}packages/${name}/${file}`, 'utf8');
}
