import { isAddressError } from '@svsm/address';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ERRORS_OF } from '../src/error-codes.ts';
import { isRegionError } from '../src/index.ts';
import { ARGUMENTS, argument, argumentLists, callsOf, errorOf, OPERATIONS, SUBJECTS } from './hostile.ts';

const { stackTraceLimit } = Error;

// Nobody reads the stacks of so many errors, and they take most of the time.
beforeAll(() => {
  Error.stackTraceLimit = 0;
});
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit;
});

describe.each(OPERATIONS)('whatever %s is passed', (operation) => {
  const calls = callsOf(operation);

  function expectCoded(error: unknown): void {
    if (error === undefined || isAddressError(error)) return;
    if (!isRegionError(error)) throw error;
    expect(ERRORS_OF[operation]).toContain(error.code);
    // Control and format characters are escaped.
    expect(error.message).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
  }

  test('it throws only an AddressError, or a RegionError with a code of its row', () => {
    for (const call of calls) for (const args of argumentLists(operation)) expectCoded(errorOf(call, args));
    fc.assert(
      fc.property(fc.array(argument, { maxLength: 4 }), (args) => {
        for (const call of calls) expectCoded(errorOf(call, args));
      }),
    );
  });
});

type Held = Record<string, (...args: unknown[]) => unknown> & Iterable<unknown>;

test.each(OPERATIONS.filter((operation) => /^Region(Set|Map)\./.test(operation)))(
  'an error of %s changes nothing',
  (operation) => {
    const [owner, method] = operation.split('.') as [string, string];
    if (method === 'constructor') return;
    let errors = 0;
    for (const first of ARGUMENTS) {
      for (const subject of SUBJECTS[owner]!() as Held[]) {
        const before = [...subject].map(String);
        const error = errorOf((...args) => subject[method]!(...args), [first, 1]);
        if (error === undefined) continue;
        errors += 1;
        expect([...subject].map(String)).toEqual(before);
      }
    }
    expect(errors > 0).toBe(!['toString'].includes(method));
  },
);
