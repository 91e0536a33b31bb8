import { describe, expect, test } from 'vitest';
import { isSnpError } from '../../src/formats/snp-error.ts';
import { PROVOCATIONS } from '../support/provocations.ts';

// A code that no call provokes does not belong in the table.
describe.each(Object.entries(PROVOCATIONS))('%s throws', (_, row) => {
  test.each(Object.entries(row))('%s', async (code, provoke) => {
    let thrown: unknown;
    try {
      await provoke();
    } catch (error) {
      thrown = error;
    }
    if (!isSnpError(thrown)) throw thrown ?? new Error('nothing was thrown');
    expect(thrown.code).toBe(code);
  });
});
