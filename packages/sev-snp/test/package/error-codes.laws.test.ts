import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ERRORS_OF } from '../../src/formats/error-codes.ts';
import { isSnpError } from '../../src/formats/snp-error.ts';
import { randomOf } from '../support/adversary-campaign.ts';
import { HOSTILE_CALLS, HostileWorld } from '../support/hostile-calls.ts';
import type { Operation } from '../support/provocations.ts';

const { stackTraceLimit } = Error;

// Nobody reads the stacks of these errors, and they take most of the time.
beforeAll(() => {
  Error.stackTraceLimit = 0;
});
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit;
});

test.each(Object.keys(ERRORS_OF) as Operation[])(
  'whatever %s is passed, and whatever the hypervisor answers, a SnpError has a code of its row',
  async (operation) => {
    let world: HostileWorld | undefined;
    let calls = 0;
    let answered = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        const random = randomOf(seed);
        // A machine serves some calls: what an earlier one left is part of what a later one meets.
        if (calls++ % 8 === 0) world = undefined;
        if (HOSTILE_CALLS[operation].length > 1) world ??= new HostileWorld(random);
        const end = await endOf(() => HOSTILE_CALLS[operation](random, () => world!));
        if (end !== 'other error') answered += 1;
        if (isSnpError(end)) expect(ERRORS_OF[operation]).toContain(end.code);
      }),
    );
    // Calls that all end in errors of other packages, or of the language, would say nothing.
    expect(answered).toBeGreaterThan(calls / 10);
  },
);

/** How a call ends: without an error, with a `SnpError`, or with another one: a fault, or one of another package. */
async function endOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
    return 'no error';
  } catch (error) {
    return isSnpError(error) ? error : 'other error';
  }
}
