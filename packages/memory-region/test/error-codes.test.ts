import { describe, expect, test } from 'vitest';
import { ERRORS_OF } from '../src/error-codes.ts';
import * as regions from '../src/index.ts';
import { throwsTags } from './docstrings.ts';
import { argumentLists, callsOf, errorOf, OPERATIONS, SUBJECTS } from './hostile.ts';

const isClass = (value: unknown): value is new () => object =>
  typeof value === 'function' && /^class\b/.test(String(value));

test('the table has a row for every function, constructor and method, but for those of errors', () => {
  const exported = Object.entries(regions).filter(([name]) => name !== 'RegionError');
  const functions = exported.filter(([, value]) => typeof value === 'function' && !isClass(value));
  const methods = exported.flatMap(([name, value]) => {
    if (!isClass(value)) return [];
    const members = [value, value.prototype].flatMap((object) =>
      Object.entries(Object.getOwnPropertyDescriptors(object)),
    );
    return members
      .filter(([member, { value }]) => typeof value === 'function' && member !== 'toJSON')
      .map(([member]) => `${name}.${member}`);
  });
  // The class of cursors is not exported.
  const ofCursor = Object.getOwnPropertyNames(Object.getPrototypeOf(SUBJECTS['PageCursor']!()[0]))
    .filter((name) => ['goTo', 'next', 'return'].includes(name))
    .map((name) => `PageCursor.${name}`);
  const names = functions.map(([name]) => name);
  expect([...OPERATIONS].sort()).toEqual([...names, ...methods, ...ofCursor].sort());
});

describe('docstrings', () => {
  const files = [
    'memory-region.ts',
    'page-cursor.ts',
    'virt-region.ts',
    'phys-region.ts',
    'region-set.ts',
    'region-map.ts',
    'walk-ranges.ts',
    'combine-ranges.ts',
    'region-error.ts',
  ];
  const tags = new Map(files.flatMap((file) => [...throwsTags(file)]));

  test.each(OPERATIONS)('%s names in @throws exactly the codes of its row', (operation) => {
    const text = tags.get(operation);
    expect(text, 'write a docstring').toBeDefined();
    // The codes of an AddressError come first.
    const own = text!.split('RegionError')[1] ?? '';
    const named = [...own.matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code);
    expect(named.sort()).toEqual([...ERRORS_OF[operation]].sort());
  });
});

// A code that no argument provokes does not belong in the table.
test.each(OPERATIONS)('%s throws every code of its row, and no other', (operation) => {
  const thrown = new Set<string>();
  for (const call of callsOf(operation)) {
    for (const args of argumentLists(operation)) {
      const error = errorOf(call, args);
      if (regions.isRegionError(error)) thrown.add(error.code);
    }
  }
  expect([...thrown].sort()).toEqual([...ERRORS_OF[operation]].sort());
});
