/** Versions of dependents: a base that leaves their ranges takes them along. */
import semver from 'semver';
import { describe, expect, test } from 'vitest';
import { bumpsIn, changesetOf, followers, type PackageManifest } from '../../run/follow.ts';
import { PACKAGES } from '../workspace.ts';

const manifests = PACKAGES.map(({ manifest }) => manifest as PackageManifest);

/** Names of packages without `@svsm/`. */
function followersOf(bumps: Record<string, 'patch' | 'minor' | 'major'>): string[] {
  const named = new Map(Object.entries(bumps).map(([name, bump]) => [`@svsm/${name}`, bump]));
  return followers(manifests, named).map(({ name, bump }) => `${name.replace('@svsm/', '')} ${bump}`);
}

describe('packages follow a base', () => {
  test('of which they depend directly or not, with a minor version', () => {
    const others = PACKAGES.map(({ name }) => name).filter((name) => name !== 'address');
    expect(followersOf({ address: 'minor' }).sort()).toEqual(others.map((name) => `${name} minor`).sort());
    expect(followersOf({ 'memory-region': 'minor' })).toContain('sev-snp minor');
    expect(followersOf({ 'memory-region': 'minor' })).not.toContain('address minor');
  });

  test('not if it gets a patch', () => {
    expect(followersOf({ address: 'patch', 'memory-region': 'patch' })).toEqual([]);
  });

  test('unless they have a minor version already; a patch is not enough', () => {
    const all = Object.fromEntries(PACKAGES.map(({ name }) => [name, 'minor'] as const));
    expect(followersOf(all)).toEqual([]);
    expect(followersOf({ ...all, pagetable: 'patch' })).toEqual(['pagetable minor']);
  });

  test('from version 1 on, with a major version, and only if it gets one', () => {
    const stable: PackageManifest[] = [
      { name: 'base', version: '1.2.3' },
      { name: 'user', version: '2.0.0', dependencies: { base: '^1.2.3' } },
    ];
    expect(followers(stable, new Map([['base', 'minor']]))).toEqual([]);
    expect(followers(stable, new Map([['base', 'major']]))).toEqual([
      { name: 'user', bump: 'major', bases: ['base'] },
    ]);
  });
});

test('the largest bump of several changesets counts', () => {
  const texts = [
    `---\n'@svsm/address': patch\n"@svsm/dump": minor\n---\n\nText: minor\n`,
    `---\n'@svsm/address': minor\n---\n`,
  ];
  expect([...bumpsIn(texts)]).toEqual([
    ['@svsm/address', 'minor'],
    ['@svsm/dump', 'minor'],
  ]);
});

test('a changeset of a follower names its bases', () => {
  const text = changesetOf({ name: 'c', bump: 'minor', bases: ['a', 'b'] });
  expect(text).toBe("---\n'c': minor\n---\n\nNeeds the new version of `a` and `b`: update them together.\n");
  expect([...bumpsIn([text])]).toEqual([['c', 'minor']]);
});

test.each(manifests.map((manifest) => [manifest.name, manifest] as const))(
  '%s has carets on its siblings',
  (_, manifest) => {
    for (const [name, range] of Object.entries(manifest.dependencies ?? {})) {
      const sibling = manifests.find((one) => one.name === name);
      if (sibling === undefined) continue;
      expect(range, name).toMatch(/^\^\d+\.\d+\.\d+$/);
      expect(semver.satisfies(sibling.version, range), `${name} ${range}`).toBe(true);
    }
  },
);
