import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ERRORS_OF } from '../../src/entry/error-codes.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { randomFrom } from '../support/access-campaign.ts';
import { CALLS, type Operation, World } from '../support/hostile-operations.ts';

/** With fewer runs the rarest code is not met. */
const MOST_RUNS = Math.max(150, Number(process.env['FC_NUM_RUNS']));
/** The runs of an operation that has thrown each code of its row. */
const LEAST_RUNS = MOST_RUNS > 150 ? MOST_RUNS : 50;
const { stackTraceLimit } = Error;

// Nobody reads the stacks of a million errors, and they would take most of the time.
beforeAll(() => {
  Error.stackTraceLimit = 0;
});
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit;
});

// A code that no call provokes does not belong in the table.
test.each(Object.keys(ERRORS_OF) as Operation[])(
  'whatever %s is passed, it throws each code of its row, and no other',
  (operation) => {
    const thrown = new Set<string>();
    for (const [run, seed] of fc.sample(fc.nat(), MOST_RUNS).entries()) {
      if (run >= LEAST_RUNS && thrown.size === ERRORS_OF[operation].length) break;
      const random = randomFrom(seed);
      const call = CALLS[operation];
      let world: World | undefined;
      for (let i = 0; i < 60; i += 1) {
        // What one call leaves is part of what the next ones meet.
        if (call.length > 1 && i % 8 === 0) world = new World(random);
        const code = codeOf(() =>
          world === undefined ? call(random, world!) : world.run(random, () => call(random, world!)),
        );
        if (code === undefined) continue;
        thrown.add(code);
        expect(ERRORS_OF[operation], `seed ${seed}`).toContain(code);
      }
    }
    expect([...thrown].sort()).toEqual([...ERRORS_OF[operation]].sort());
  },
);

/** The code of the `PageTableError` that a call throws. Errors of other packages and of the language are not its matter. */
function codeOf(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return isPageTableError(error) ? error.code : undefined;
  }
}
