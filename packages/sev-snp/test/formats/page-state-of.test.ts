import { expect, test } from 'vitest';
import { PageState } from '../../src/formats/page-state.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import { HYPERVISOR_ENTRY } from '../../src/rmp/rmp.ts';
import { thrownBy } from '../support/world.ts';

test('a page without an entry is DEFAULT, and one that nobody has assigned belongs to the hypervisor', () => {
  expect(pageStateOf(undefined)).toBe(PageState.Default);
  expect(pageStateOf(HYPERVISOR_ENTRY)).toBe(PageState.Hypervisor);
});

test.each([
  ['asid', 1024],
  ['asid', 1n],
  ['gpa', -1n],
  ['assigned', 1],
  ['vmplMasks', [0, 0, 0]],
])('refuses %s = %s', (field, value) => {
  const entry = { ...HYPERVISOR_ENTRY, [field]: value };
  expect(thrownBy(() => pageStateOf(entry as never))).toMatchObject({ code: 'INVALID_MESSAGE' });
});
