import { expect, test } from 'vitest';
import { exploreSmall, LARGER_MACHINES } from '../support/small-machines.ts';

// The law of `small-machine.test.ts`, for machines that take minutes.
test.each(LARGER_MACHINES.map((small) => [small.name, small] as const))('%s: every state', (_name, small) => {
  const { counterexample, tally } = exploreSmall(small);
  expect(counterexample).toBeUndefined();
  for (const what of small.includes) expect(tally[what], what).toBeGreaterThan(0);
});
