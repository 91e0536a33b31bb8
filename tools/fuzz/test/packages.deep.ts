/** All calls. */
import { expect, test } from 'vitest';
import { figuresOf, fuzzPackage, linesOf, PACKAGES, type PackageName } from '../package-fuzz.ts';

test.each(Object.keys(PACKAGES) as PackageName[])('all calls of %s', async (name) => {
  const report = await fuzzPackage(name, { part: 1, seed: 0 });
  console.log(figuresOf(name, report));
  expect(linesOf(report.findings)).toEqual([]);
});
