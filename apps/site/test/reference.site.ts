import { expect, test } from 'vitest';
import { readReference } from '../src/reference/reference.ts';

test('an export without a docstring is a problem, and so is a link that leads nowhere', async () => {
  const { problems } = await readReference([
    { source: 'apps/site/test/fixtures/undocumented.ts', path: 'fixture' },
    { source: 'packages/address/src/index.ts', path: 'address' },
  ]);
  expect(problems).toHaveLength(2);
  expect(problems).toContainEqual(expect.stringMatching(/somewhereElse/));
  expect(problems).toContainEqual(
    expect.stringMatching(/fixture\.undocumented .* does not have any documentation/),
  );
});

test('the packages have no problem', async () => {
  const { problems, linkOf } = await readReference();
  expect(problems).toEqual([]);
  expect(linkOf('PageTable.setShared4k', 'pagetable')).toBe('/api/pagetable/classes/PageTable#setshared4k');
  expect(linkOf('getOrder', 'buddy-alloc')).toBe('/api/buddy-alloc/#getorder');
  expect(linkOf('nothing', 'pagetable')).toBeUndefined();
});
