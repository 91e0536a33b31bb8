import { expect, test } from 'vitest';
import { RmpResult } from '../../src/formats/rmp-result.ts';

test('results have the numbers of the instructions (Linux arch/x86/include/asm/sev.h)', () => {
  expect(RmpResult).toEqual({
    SUCCESS: 0,
    FAIL_INPUT: 1,
    FAIL_PERMISSION: 2,
    FAIL_INUSE: 3,
    FAIL_OVERLAP: 4,
    FAIL_SIZEMISMATCH: 6,
    FAIL_BADADDR: 7,
  });
});
