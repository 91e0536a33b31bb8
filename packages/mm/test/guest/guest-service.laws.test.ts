/** Random guests on all processors, beside a hypervisor that hides and exchanges pages, served by `GuestService`. */
import { describe, expect, test } from 'vitest';
import { GuestCampaign } from '../support/guest-campaign.ts';

/** 100 runs of 1000 steps in `npm test`; 10,000 in a deep run. */
const RUNS = Number(process.env['FC_NUM_RUNS']);
const SEED = Number(process.env['FC_SEED']);
const STEPS = 1000;

/** Ends of steps that the programs have to come to, or they show less than they claim. */
const REACHED = [
  ...(['read', 'write', 'read: fault', 'write: fault', 'attack', 'nested call'] as const),
  ...(['nested call: Busy', 'create', 'run', 'delete', 'delete: FAIL_INUSE'] as const),
  ...(['call: Success', 'call: Incomplete', 'call: InvalidAddress', 'call: PvalidateUnchanged'] as const),
];

const RUNS_OF_A_TEST = 10;
const FIRST_RUNS = Array.from({ length: Math.ceil(RUNS / RUNS_OF_A_TEST) }, (_, k) => k * RUNS_OF_A_TEST);
const tally = new Map<string, number>();

describe('a validated page holds what the guest has written last; the record has what the RMP has; no frame is lost', () => {
  test.each(FIRST_RUNS)('in the programs from %i on', (first) => {
    for (let run = first; run < Math.min(first + RUNS_OF_A_TEST, RUNS); run += 1) {
      const seed = (SEED + run * 7919) | 1;
      const campaign = new GuestCampaign(seed);
      try {
        campaign.run(STEPS);
      } catch (cause) {
        throw new Error(`seed ${seed}`, { cause });
      }
      for (const [name, count] of campaign.tally) tally.set(name, (tally.get(name) ?? 0) + count);
    }
  });

  test('the programs came to each end', () => {
    if (RUNS >= 10) for (const name of REACHED) expect([name, tally.get(name) ?? 0]).not.toEqual([name, 0]);
  });
});
