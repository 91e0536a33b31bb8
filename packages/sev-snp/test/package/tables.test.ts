import { expect, test } from 'vitest';
import { tables } from '../support/tables.ts';

test('TABLES.md is current', async () => {
  await expect(tables()).toMatchFileSnapshot('../../TABLES.md');
});
