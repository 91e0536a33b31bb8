import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ERRORS_OF } from '../../src/pages/errors-of.ts';
import { codeThrownBy, makeScene, type Operation } from '../support/operations.ts';

const OPERATIONS = Object.keys(ERRORS_OF) as Operation[];

/** A step: an operation, one of the objects, and arguments, which are an index of those of the scene or anything. */
const step = fc.record({
  operation: fc.constantFrom(...OPERATIONS),
  object: fc.nat(100),
  args: fc.array(
    fc.oneof(
      fc.nat(200).map((index) => ({ index })),
      fc
        .anything({ withBigInt: true, withNullPrototype: true, withTypedArray: true })
        .map((value) => ({ value })),
    ),
    { maxLength: 3 },
  ),
});

test('whatever operations are passed, in any order, a BuddyError has a code of the row', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { calls, args: known } = makeScene();
      for (const { operation, object, args } of steps) {
        const row = calls[operation];
        const code = codeThrownBy(
          row[object % row.length]!,
          args.map((one) => ('index' in one ? known[one.index % known.length] : one.value)),
        );
        if (code !== undefined) expect(ERRORS_OF[operation], operation).toContain(code);
      }
    }),
  );
});
