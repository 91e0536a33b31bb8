import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ERRORS_OF } from '../src/error-codes.ts';
import { isRegionError } from '../src/index.ts';
import { argument, callsOf, errorOf, OPERATIONS } from './hostile.ts';

test.each(OPERATIONS)(
  'whatever %s is passed, a RegionError that it throws has a code of its row',
  (operation) => {
    const calls = callsOf(operation);
    fc.assert(
      fc.property(fc.array(argument, { maxLength: 4 }), (args) => {
        for (const call of calls) {
          const error = errorOf(call, args);
          if (isRegionError(error)) expect(ERRORS_OF[operation]).toContain(error.code);
        }
      }),
    );
  },
);
