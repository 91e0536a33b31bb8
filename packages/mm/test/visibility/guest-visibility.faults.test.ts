/** Steps of each change of a guest's pages fail in turn, in each way in which they can fail, on both sides. */
import { describe, expect, test } from 'vitest';
import { GUEST_FAILURES, GUEST_OPERATIONS, injectIntoGuest } from '../support/guest-visibility-faults.ts';

/** The steps that fail in `npm test`, spread over all. A deep run takes each. */
const MOST = 8;

describe.each(Object.keys(GUEST_OPERATIONS))('%s', (operation) => {
  test.each(Object.keys(GUEST_FAILURES))('keeps the laws with %s', (failure) => {
    const { broken } = injectIntoGuest(operation, failure, MOST);
    expect(broken).toEqual([]);
  });
});

test('only a result that cannot be delivered stops the processor, and leaves pages lost', () => {
  const { broken, stopped, points } = injectIntoGuest('makeShared in several calls', 'a fault of the SVSM');
  expect(broken).toEqual([]);
  // At the end of each of three calls: the RMPQUERY of the calling area, and the write that clears CALL_PENDING.
  expect(stopped.length).toBe(6);
  expect(points).toBeGreaterThan(90);
});
