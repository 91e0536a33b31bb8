import { inspect as nodeInspect } from 'node:util';
import { PAGE_SIZE, physAddr, virtAddr } from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { physRegion, virtRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatLine, inspect } from '../src/editor/inspect.ts';

test('a value that fits in a line is shown as Node shows it', () => {
  const key = fc.stringMatching(/^[a-z_][a-z0-9_ -]{0,6}$/);
  const { value } = fc.letrec((tie) => ({
    leaf: fc.oneof(
      fc.integer(),
      fc.double(),
      fc.bigInt(),
      fc.boolean(),
      fc.constantFrom(null, undefined),
      fc.string({ maxLength: 12, unit: fc.constantFrom(...`abc'"\`\\ \n\t=>`) }),
    ),
    value: fc.oneof(
      { maxDepth: 3 },
      tie('leaf'),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(key, tie('value'), { maxKeys: 3, noNullPrototype: true }),
      fc.array(tie('leaf'), { maxLength: 3 }).map((items) => new Set(items)),
      fc.array(fc.tuple(tie('leaf'), tie('leaf')), { maxLength: 3 }).map((entries) => new Map(entries)),
    ),
  }));
  fc.assert(
    fc.property(value, (value) => {
      const expected = nodeInspect(value, { breakLength: Infinity });
      const shown = inspect(value);
      // Node decides otherwise where lines are broken.
      if (!shown.includes('\n') || expected.length <= 72) expect(shown).toBe(expected);
    }),
  );
});

test.each([
  [physRegion(physAddr(0), PAGE_SIZE)],
  [new PageAllocator(virtRegion(virtAddr(0), 4 * PAGE_SIZE))],
  [[virtAddr(0x1000)]],
  [Uint8Array.of(1, 2, 3)],
  [Object.create(null)],
  [function named() {}],
])('%o is shown as Node shows it', (value) => {
  expect(inspect(value)).toBe(nodeInspect(value));
});

test('an object that holds itself ends', () => {
  const value: { self?: object } = {};
  value.self = value;
  expect(inspect(value)).toBe('{ self: [Circular] }');
});

test('a line has strings as they are', () => {
  expect(formatLine(['a', 1, ['b']])).toBe("a 1 [ 'b' ]");
});
