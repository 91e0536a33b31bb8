/** A slice of the calls, always the same one. `vitest run --mode deep` makes all of them. */
import { expect, test } from 'vitest';
import { unusedExclusions } from '../exclusions.ts';
import { exportsOf, figuresOf, fuzzPackage, linesOf, PACKAGES, type PackageName } from '../package-fuzz.ts';

const NAMES = Object.keys(PACKAGES) as PackageName[];

test.each(NAMES)(
  'no export of %s takes a wrong type in silence, or throws an error without a code',
  async (name) => {
    const report = await fuzzPackage(name, { part: PACKAGES[name], seed: 131 });
    console.log(figuresOf(name, report));
    expect(linesOf(report.findings)).toEqual([]);
  },
);

test('every export that is left out exists', async () => {
  const callables = (await Promise.all(NAMES.map(exportsOf))).flat();
  expect(unusedExclusions(callables)).toEqual([]);
});
