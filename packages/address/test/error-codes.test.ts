import { describe, expect, test } from 'vitest';
import { ERRORS_OF } from '../src/error-codes.ts';
import * as address from '../src/index.ts';
import { throwsTags } from './docstrings.ts';
import { ARGUMENTS, callsOf, errorOf, OPERATIONS, type Operation } from './hostile.ts';

test('the table has a row for every function and every method of a kind', () => {
  const functions = Object.entries(address)
    .filter(([, value]) => typeof value === 'function' && !/^class\b/.test(String(value)))
    .map(([name]) => name)
    // It runs while a class is defined, with arguments that the compiler has seen.
    .filter((name) => name !== 'showInConsoles');
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(address.Virt));
  const expected = [...functions, ...methods].filter((name) => name !== 'constructor' && name !== 'toJSON');
  expect([...OPERATIONS].sort()).toEqual(expected.sort());
});

describe('docstrings', () => {
  const files = [
    ...['address-kind.ts', 'virt-addr.ts', 'phys-addr.ts', 'arithmetic.ts', 'page-table-index.ts'],
    ...['bytes.ts', 'format.ts', 'coded-error.ts', 'address-error.ts'],
    ...['describe-value.ts', 'appearance.ts'],
  ];
  const tags = new Map(files.flatMap((file) => [...throwsTags(file)]));

  test.each(OPERATIONS)('%s names in @throws exactly the codes of its row', (operation) => {
    const text = tags.get(operation);
    expect(text, 'write a docstring').toBeDefined();
    const named = [...text!.matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code!);
    for (const [, other] of text!.matchAll(/as \{@link (\w+)\s*\}/g))
      named.push(...ERRORS_OF[other as Operation]);
    expect([...new Set(named)].sort()).toEqual([...ERRORS_OF[operation]].sort());
  });
});

// A code that no argument provokes does not belong in the table.
test.each(OPERATIONS)('%s throws every code of its row, and no other', (operation) => {
  const thrown = new Set<string>();
  for (const call of callsOf(operation)) {
    for (const first of ARGUMENTS) {
      for (const second of ARGUMENTS) {
        const error = errorOf(call, [first, second]);
        if (address.isAddressError(error)) thrown.add(error.code);
      }
    }
  }
  expect([...thrown].sort()).toEqual([...ERRORS_OF[operation]].sort());
});
