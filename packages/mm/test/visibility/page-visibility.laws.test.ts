/** Random programs on three processors, beside a hypervisor that refuses, lies, exchanges pages, and runs others at each exit. */
import { describe, expect, test } from 'vitest';
import { Campaign } from '../support/visibility-campaign.ts';

/** 100 runs of 1000 steps in `npm test`; 10,000 in a deep run. */
const RUNS = Number(process.env['FC_NUM_RUNS']);
const SEED = Number(process.env['FC_SEED']);
const STEPS = 1000;

/** Ends of steps that a campaign has to come to, or it shows less than it claims. */
const REACHED = [
  ...(['share', 'share: VISIBILITY_FAILED', 'take back', 'take back: VISIBILITY_FAILED'] as const),
  ...(['release', 'release: VISIBILITY_FAILED', 'box', 'box: VISIBILITY_FAILED', 'unbox', 'retry'] as const),
  ...(['free', 'free: WRONG_VISIBILITY', 'free: PAGE_IN_USE', 'meddle', 'meddle: WRONG_VISIBILITY'] as const),
  ...(['read', 'write', 'attack'] as const),
];

/** A test runs so many, so that it ends in time on a slow machine. */
const RUNS_OF_A_TEST = 10;
const FIRST_RUNS = Array.from({ length: Math.ceil(RUNS / RUNS_OF_A_TEST) }, (_, k) => k * RUNS_OF_A_TEST);

const tally = new Map<string, number>();

describe('each page is private and validated, shared, or lost; none is validated twice, read by the host, or leaked', () => {
  test.each(FIRST_RUNS)('in the programs from %i on', (first) => {
    for (let run = first; run < Math.min(first + RUNS_OF_A_TEST, RUNS); run += 1) {
      const seed = (SEED + run * 7919) | 1;
      const campaign = new Campaign(seed);
      try {
        campaign.run(STEPS);
      } catch (cause) {
        throw new Error(`seed ${seed}`, { cause });
      }
      for (const [name, count] of campaign.tally) tally.set(name, (tally.get(name) ?? 0) + count);
    }
  });

  test('the programs came to each end', () => {
    if (RUNS >= 100) for (const name of REACHED) expect([name, tally.get(name) ?? 0]).not.toEqual([name, 0]);
  });
});
