import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DECODERS, decoderProblem } from '../support/decoders.ts';

const source = fileURLToPath(new URL('../../src/', import.meta.url));

test.each(Object.entries(DECODERS))(
  '%s: any bytes give a value or a coded error, which depends on these bytes alone',
  (name, { length }) => {
    const content = fc.oneof(
      { weight: 4, arbitrary: fc.uint8Array({ minLength: length, maxLength: length }) },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: length + 16 }) },
    );
    fc.assert(
      fc.property(content, (bytes) => {
        expect(decoderProblem(name, bytes)).toBe(undefined);
      }),
    );
  },
);

test('no decoder is missing', () => {
  const found = globSync('**/*.ts', { cwd: source }).flatMap((file) =>
    [...readFileSync(source + file, 'utf8').matchAll(/^export function (decode\w+)/gm)].map(
      ([, name]) => name!,
    ),
  );
  // `decodeWords` is `decodeRmpEntry` on the words of a table. Another decoder calls each `decode…At` with the place 0.
  const isPart = (name: string) => name === 'decodeWords' || name.replace(/At$/, '') in DECODERS;
  expect(found.filter((name) => !isPart(name))).toEqual([]);
});
