import { describe, expect, test } from 'vitest';
import { ERRORS_OF } from '../../src/entry/error-codes.ts';
import * as pagetable from '../../src/index.ts';
import { codesIn, throwsTags } from '../support/throws-tags.ts';

const TABLE: Readonly<Record<string, readonly string[]>> = ERRORS_OF;
const TAGS = throwsTags();
const rowOf = (operation: string): readonly string[] => TABLE[operation] ?? [];

/** Interfaces that users implement, and classes that are errors: their methods have no rows. */
const WITHOUT_ROWS = ['FrameAllocator.', 'TlbListener.', 'PageTableError.', 'PhysMemory.wordOffset'];

test('every public function, method and constructor has a row', () => {
  const operations = [...TAGS.keys()].filter(
    (name) => !WITHOUT_ROWS.some((without) => name.startsWith(without)),
  );
  expect(Object.keys(TABLE).sort()).toEqual(operations.sort());
});

test('every public function is among them', () => {
  const isFunction = (value: unknown): boolean =>
    typeof value === 'function' && !/^class\b/.test(String(value));
  const functions = Object.entries(pagetable).filter(([, value]) => isFunction(value));
  expect(functions.map(([name]) => name).filter((name) => TABLE[name] === undefined)).toEqual([]);
});

describe('a docstring names in @throws exactly the codes of its row', () => {
  test.each(Object.keys(TABLE))('%s', (operation) => {
    expect(codesIn(TAGS.get(operation) ?? '', operation, rowOf)).toEqual([...rowOf(operation)].sort());
  });
});
