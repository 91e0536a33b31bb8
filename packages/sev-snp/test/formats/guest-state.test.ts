import { expect, test } from 'vitest';
import { GuestState } from '../../src/formats/guest-state.ts';

// T5
test('a launch goes through the states in their order', () => {
  expect(Object.values(GuestState)).toEqual(['INIT', 'LAUNCH', 'RUNNING']);
});
