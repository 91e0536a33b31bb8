/** Changelogs: what users must act on comes first, and each entry has a link to its commit. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sortedChangelog } from '../../run/changelogs.ts';
import { ROOT } from '../workspace.ts';

const WRITTEN = `# @svsm/pagetable

## 0.3.0

### Minor Changes

- 564272b: \`lookup\` returns the page.
- 5d8b58e: Changed: \`BAD_FRAME\` is now \`INVALID_FRAME\`.

  \`\`\`diff
  - BAD_FRAME
  + INVALID_FRAME
  \`\`\`

- Added without a commit.

### Patch Changes

- 97f4f2d: Loops are faster.
- Updated dependencies [97f4f2d]
- Updated dependencies [5d8b58e]
  - @svsm/address@0.2.0
  - @svsm/memory-region@0.3.0

## 0.2.0

### Minor Changes

- First release.
`;

const SORTED = `# @svsm/pagetable

## 0.3.0

### Changed

- \`BAD_FRAME\` is now \`INVALID_FRAME\`. ([5d8b58e](https://github.com/svsm-js/svsm/commit/5d8b58e))

  \`\`\`diff
  - BAD_FRAME
  + INVALID_FRAME
  \`\`\`

### Added

- \`lookup\` returns the page. ([564272b](https://github.com/svsm-js/svsm/commit/564272b))
- Added without a commit.

### Fixed

- Loops are faster. ([97f4f2d](https://github.com/svsm-js/svsm/commit/97f4f2d))

### Dependencies

- @svsm/address@0.2.0
- @svsm/memory-region@0.3.0

## 0.2.0

### Minor Changes

- First release.
`;

test('the newest version is sorted, with links; older ones stay', () => {
  expect(sortedChangelog(WRITTEN)).toBe(SORTED);
  // Changesets indents a blank line within an entry.
  expect(sortedChangelog(WRITTEN.replace('.\n\n  `', '.\n  \n  `'))).toBe(SORTED);
});

test('a version that is sorted stays as it is, and so does a changelog without versions', () => {
  expect(sortedChangelog(SORTED)).toBe(SORTED);
  expect(sortedChangelog('# @svsm/pagetable\n')).toBe('# @svsm/pagetable\n');
});

test('a version without older ones is sorted too', () => {
  const [first] = WRITTEN.split('\n## 0.2.0');
  expect(sortedChangelog(first!)).toBe(SORTED.split('\n## 0.2.0')[0]);
});

// A patch changes nothing after which users must act.
test('a changeset that begins with `Changed:` is a minor or major version', () => {
  const texts = globSync('.changeset/*.md', { cwd: ROOT }).map((file) =>
    readFileSync(join(ROOT, file), 'utf8'),
  );
  const changed = texts.filter((text) => /^---\n[\s\S]*?\n---\n\s*Changed: /.test(text));
  expect(changed.filter((text) => !/: (minor|major)$/m.test(text.split('\n---\n')[0]!))).toEqual([]);
});
