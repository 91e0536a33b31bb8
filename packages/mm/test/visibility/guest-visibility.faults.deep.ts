/** Each step of each change of a guest's pages fails in turn, in each way in which it can fail, on both sides. */
import { describe, expect, test } from 'vitest';
import { GUEST_FAILURES, GUEST_OPERATIONS, injectIntoGuest } from '../support/guest-visibility-faults.ts';

describe.each(Object.keys(GUEST_OPERATIONS))('%s', (operation) => {
  test.each(Object.keys(GUEST_FAILURES))('keeps the laws with %s at any step', (failure) => {
    expect(injectIntoGuest(operation, failure).broken).toEqual([]);
  });
});
