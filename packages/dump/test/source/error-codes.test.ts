import { describe, expect, test } from 'vitest';
import { codesIn, throwsTags } from '../../../../tools/run/throws-tags.ts';
import { ERRORS_OF } from '../../src/source/errors-of.ts';

const TABLE: Readonly<Record<string, readonly string[]>> = ERRORS_OF;
const TAGS = throwsTags(new URL('../../src/', import.meta.url));
const rowOf = (operation: string): readonly string[] => TABLE[operation] ?? [];

test('every row is a public operation', () => {
  expect(Object.keys(TABLE).filter((operation) => !TAGS.has(operation))).toEqual([]);
});

describe('the docstring names exactly the codes of the row', () => {
  test.each([...TAGS.keys()])('%s', (operation) => {
    expect(codesIn(TAGS.get(operation)!, 'DumpError', rowOf)).toEqual([...rowOf(operation)].sort());
  });
});
