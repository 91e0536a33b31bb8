import { expect, test } from 'vitest';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { rmpResultName } from '../../src/formats/rmp-result-name.ts';
import { thrownBy } from '../support/world.ts';

test('results have names', () => {
  for (const [name, result] of Object.entries(RmpResult)) expect(rmpResultName(result)).toBe(name);
});

test.each([5, 8, -1, 1n, '1', undefined])('%s is not a result', (value) => {
  expect(thrownBy(() => rmpResultName(value as never))).toMatchObject({ code: 'INVALID_ARGUMENT' });
});
