import { describe, expect, test } from 'vitest';
import { ERRORS_OF } from '../../src/formats/error-codes.ts';
import { codesIn, throwsTags } from '../support/throws-tags.ts';

const TABLE: Readonly<Record<string, readonly string[]>> = ERRORS_OF;
const TAGS = throwsTags();
const rowOf = (operation: string): readonly string[] => TABLE[operation] ?? [];

test('every row is a public operation', () => {
  expect(Object.keys(TABLE).filter((operation) => !TAGS.has(operation))).toEqual([]);
});

describe('the docstring names exactly the codes of the row', () => {
  test.each([...TAGS.keys()])('%s', (operation) => {
    expect(codesIn(TAGS.get(operation)!, rowOf)).toEqual([...rowOf(operation)].sort());
  });
});
