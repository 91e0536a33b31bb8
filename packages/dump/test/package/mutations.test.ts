/** A slice of the fuzzer, in seconds. `npm run -w packages/dump fuzz` runs a million files. */
import { expect, test } from 'vitest';
import { tryMutation } from '../support/mutations.ts';

const FILES = 700;

test(`${FILES} mutated files are opened, or refused with one line`, async () => {
  let opened = 0;
  for (let seed = 1; seed <= FILES; seed += 1) {
    const isOpen = await tryMutation(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
    });
    if (isOpen) opened += 1;
  }
  // If all were refused, or none, the mutations would find nothing.
  expect(opened).toBeGreaterThan(FILES / 5);
  expect(opened).toBeLessThan((FILES * 9) / 10);
});
