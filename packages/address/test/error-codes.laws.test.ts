import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ERRORS_OF } from '../src/error-codes.ts';
import { isAddressError } from '../src/index.ts';
import { argument, callsOf, errorOf, OPERATIONS } from './hostile.ts';

test.each(OPERATIONS)(
  'whatever %s is passed, it throws only an AddressError with a code of its row',
  (operation) => {
    const calls = callsOf(operation);
    fc.assert(
      fc.property(fc.array(argument, { maxLength: 3 }), (args) => {
        for (const call of calls) {
          const error = errorOf(call, args);
          // `formatAddress` takes every bigint and checks no type.
          if (error === undefined || operation === 'formatAddress') continue;
          if (!isAddressError(error)) throw error;
          expect(ERRORS_OF[operation]).toContain(error.code);
        }
      }),
    );
  },
);
