/**
 * `npm run version-packages` begins with this. If a package gets a version that the ranges of its dependents exclude, each of
 * them must get one too, so that users update all or none (docs/decisions/0018-releases.md). Changesets would give them a patch.
 * This writes a changeset for each that has no such version yet.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import semver from 'semver';
import { ROOT } from './turbo.ts';

type Bump = 'patch' | 'minor' | 'major';

/** The fields of a manifest that are read here. */
export interface PackageManifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** A package that has to follow: its name, the version that it needs, and the bases that it follows. */
export interface Follower {
  readonly name: string;
  readonly bump: Bump;
  readonly bases: readonly string[];
}

/** The packages that need a larger version than `bumps` gives them, those of lower layers first. */
export function followers(
  manifests: readonly PackageManifest[],
  bumps: ReadonlyMap<string, Bump>,
): Follower[] {
  const planned = new Map(bumps);
  const found = new Map<string, Follower>();
  for (let before = -1; before < found.size; ) {
    before = found.size;
    for (const manifest of manifests) {
      if (leavesRange(manifest, planned.get(manifest.name))) continue;
      const bases = manifests.filter(
        ({ name, version }) =>
          manifest.dependencies?.[name] !== undefined && leavesRange({ version }, planned.get(name)),
      );
      if (bases.length === 0) continue;
      const bump = semver.major(manifest.version) === 0 ? 'minor' : 'major';
      planned.set(manifest.name, bump);
      found.set(manifest.name, { name: manifest.name, bump, bases: bases.map(({ name }) => name) });
    }
  }
  return [...found.values()];
}

function leavesRange({ version }: { version: string }, bump: Bump | undefined): boolean {
  return bump !== undefined && !semver.satisfies(semver.inc(version, bump)!, `^${version}`);
}

/** The largest bump of each package in the texts of changesets. */
export function bumpsIn(changesets: readonly string[]): Map<string, Bump> {
  const order: Bump[] = ['patch', 'minor', 'major'];
  const bumps = new Map<string, Bump>();
  for (const text of changesets) {
    const [, front = ''] = text.split(/^---$/m);
    for (const [, name = '', bump] of front.matchAll(/^['"]?([^'"\n]+?)['"]?: *(patch|minor|major)$/gm)) {
      const known = bumps.get(name);
      if (known === undefined || order.indexOf(bump as Bump) > order.indexOf(known))
        bumps.set(name, bump as Bump);
    }
  }
  return bumps;
}

/** The text of a changeset. */
export function changesetOf({ name, bump, bases }: Follower): string {
  const names = bases.map((base) => `\`${base}\``);
  const last = names.pop();
  return `---\n'${name}': ${bump}\n---\n\nNeeds the new version of ${names.length > 0 ? `${names.join(', ')} and ` : ''}${last}: update them together.\n`;
}

if (import.meta.main) {
  const read = (pattern: string): string[] =>
    globSync(pattern, { cwd: ROOT }).map((file) => readFileSync(join(ROOT, file), 'utf8'));
  const manifests = read('packages/*/package.json').map((text): PackageManifest => JSON.parse(text));
  for (const follower of followers(manifests, bumpsIn(read('.changeset/*.md')))) {
    const file = join(ROOT, '.changeset', `follow-${basename(follower.name)}.md`);
    writeFileSync(file, changesetOf(follower));
    console.log(`${follower.name} follows ${follower.bases.join(', ')}: ${follower.bump}`);
  }
}
