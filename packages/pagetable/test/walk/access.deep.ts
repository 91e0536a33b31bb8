/** A million random tables and addresses: the fast walk against the slow walk. */
import process from 'node:process';
import { expect, test } from 'vitest';
import { runCampaign } from '../support/access-campaign.ts';

const CASES = 1_000_000;
const SEED = Number(process.env['SEED'] ?? 20_261_126);

test(`${CASES} random tables and addresses from seed ${SEED}`, () => {
  const { disagreements, seen } = runCampaign(CASES, SEED);
  const lines = [...seen].sort(([a], [b]) => (a < b ? -1 : 1));
  console.log(lines.map(([name, count]) => `${String(count).padStart(8)}  ${name}`).join('\n'));
  expect(disagreements.slice(0, 3)).toEqual([]);
  // 2 × 3 × 3 × 2 translations; not present and reserved at 5 levels each; rights and keys by kind, mode and size.
  expect(lines.length).toBeGreaterThanOrEqual(36 + 10 + 27 + 17 + 2);
  for (const [name, count] of lines) expect([name, count >= 1000]).toEqual([name, true]);
});
