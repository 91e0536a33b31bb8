import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as buddyAlloc from '../../src/index.ts';
import { ERRORS_OF } from '../../src/pages/errors-of.ts';
import { throwsTags } from '../support/docstrings.ts';
import { codesOf, type Operation } from '../support/operations.ts';

const OPERATIONS = Object.keys(ERRORS_OF) as Operation[];
const { stackTraceLimit } = Error;

// Nobody reads the stacks of a million errors, and they would take most of the time.
beforeAll(() => {
  Error.stackTraceLimit = 0;
});
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit;
});

test('the table has a row for every function, public constructor, method and accessor', () => {
  // The package creates these itself.
  const internal = ['IndexedPages', 'OwnedBlock', 'SharedPageAllocator', 'PageCache'];
  const expected = Object.entries(buddyAlloc)
    .filter(([name]) => name !== 'BuddyError')
    .flatMap(([name, value]) => {
      if (!/^class\b/.test(String(value))) return [name];
      const { prototype } = value as { readonly prototype: object };
      const members = [...membersOf(value), ...membersOf(prototype)].map((member) => `${name}.${member}`);
      return internal.includes(name) ? members : [`new ${name}`, ...members];
    });
  // An interface that the package implements.
  expected.push('PageSource.allocate', 'PageSource.free');
  expect([...OPERATIONS].sort()).toEqual(expected.sort());
});

describe('docstrings', () => {
  const files = [
    'pages/get-order.ts',
    'pages/render-map.ts',
    'pages/buddy-error.ts',
    'pages/page-source.ts',
    'allocator/page-allocator.ts',
    'allocator/indexed-pages.ts',
    'allocator/owned-block.ts',
    'objects/slab-cache.ts',
    'objects/heap-allocator.ts',
    'objects/byte-memory.ts',
    'shared/shared-page-allocator.ts',
    'shared/page-cache.ts',
  ];
  const tags = new Map(files.flatMap((file) => [...throwsTags(file)]));
  const codes = new Set<string>(Object.values(ERRORS_OF).flat());

  test.each(OPERATIONS)('%s names in @throws exactly the codes of its row', (operation) => {
    const text = tags.get(operation);
    expect(text, 'write a docstring').toBeDefined();
    const named = [...text!.matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code!);
    // The others are codes of AddressError and RegionError.
    expect([...new Set(named)].filter((code) => codes.has(code)).sort()).toEqual(
      [...ERRORS_OF[operation]].sort(),
    );
  });
});

// A code that no state and argument provokes does not belong in the table.
test.each(OPERATIONS)('%s throws every code of its row, and no other', (operation) => {
  expect([...codesOf(operation)].sort()).toEqual([...ERRORS_OF[operation]].sort());
});

/** The names of the methods and accessors of a class or of its prototype. */
function membersOf(object: object): string[] {
  const inherent = ['length', 'name', 'prototype', 'constructor'];
  const forConsoles = ['toJSON', '[nodejs.util.inspect.custom]'];
  return Reflect.ownKeys(object)
    .map((key) => (typeof key === 'string' ? key : `[${key.description}]`))
    .filter((key) => ![...inherent, ...forConsoles].includes(key));
}
