import { expect, test } from 'vitest';
import { corruptEveryWord, expectUnread, smallSample, wideSample } from '../support/corruption.ts';

test.each([
  ['two nodes', smallSample],
  ['ten nodes', wideSample],
])('a wrong value in any word of %s is found, or does not matter', (name, make) => {
  const { found, harmless } = corruptEveryWord(make, () => true, 32);
  console.log(`${name}: ${found} wrong words found, ${harmless.length} harmless`);
  expect(found).toBeGreaterThan(50_000);
  expectUnread(harmless, make());
});
