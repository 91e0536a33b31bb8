/** Each step of each operation fails in turn, in each way in which it can fail. The whole state is compared. */
import { describe, expect, test } from 'vitest';
import { FAILURES, inject, OPERATIONS } from '../support/visibility-faults.ts';

describe.each(Object.keys(OPERATIONS))('%s', (operation) => {
  test.each(Object.keys(FAILURES))(
    'keeps the laws with %s at any step',
    (failure) => {
      const { broken } = inject(operation, failure);
      expect(broken).toEqual([]);
    },
    120_000,
  );
});
