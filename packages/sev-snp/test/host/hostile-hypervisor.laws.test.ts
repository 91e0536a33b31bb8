import process from 'node:process';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { RMP_CHECKS, type RmpCheck } from '../../src/rmp/rmp-check.ts';
import { Campaign, LawBroken, type Tally } from '../support/adversary-campaign.ts';
import { ALL_DUTIES, type Duties } from '../support/adversary-world.ts';

/*
 * The central law: whatever the hypervisor does, a guest that follows the rules (a record, zeroes before use, the safe
 * order, flushes) never reads through a private mapping a byte that it did not write there. It may only fault. And
 * after every step the RMP is as it must be: `rmp-shadow.ts`.
 */

/** A case is some campaigns, each on a fresh machine: what an attack has broken stays so. */
const CAMPAIGNS = 4;
const STEPS = 250;
const cases = Number(process.env['FC_NUM_RUNS']);
/** `FC_SEED` repeats a run. */
const seed = Number(process.env['FC_SEED']);

const total: Tally = {};

test('whatever the hypervisor does, a guest that follows the rules reads what it wrote, or faults', {
  timeout: 3_600_000 * 6,
}, () => {
  fc.assert(
    fc.property(fc.noShrink(fc.integer()), (seed) => {
      for (let k = 0; k < CAMPAIGNS; k += 1) new Campaign((seed + k) | 0, { tally: total }).run(STEPS);
    }),
    { seed },
  );
});

// Otherwise the law says nothing.
test.each([
  'read',
  'written',
  'fault',
  'secret',
  'shared use',
  'shared fault',
  'share',
  'share refused',
  'take back',
  'take back refused',
  'accept',
  'accept refused',
  'substitute true',
  'replay true',
  'host write true',
  'host write false',
  'unassign 0',
  'unassign 4',
  'assign 0',
  'smash 0',
  'unsmash true',
  'unsmash false',
  'map huge',
  'move 0',
  'lend',
  'enter true',
])('it happened: %s', (what) => {
  expect(total[what], what).toBeGreaterThan(0);
});

/** The campaign in which the law is broken, of as many as there are; and how it is broken. */
function broken(duties: Duties): string | undefined {
  for (let campaign = 0; campaign < 1000; campaign += 1) {
    try {
      new Campaign(campaign, { duties }).run(STEPS);
    } catch (error) {
      if (error instanceof LawBroken) return error.message;
      throw error;
    }
  }
  return undefined;
}

test.each(Object.keys(ALL_DUTIES))('a guest that leaves this duty undone breaks it: %s', (duty) => {
  expect(broken({ ...ALL_DUTIES, [duty]: false })).toMatch(/reads|two validated pages/);
});

// Three are not here, as the law holds without them. `covered`: what has no entry is no guest's either. `mutable` guards pages
// that the firmware works on, and no step here has it do so. `page-size` guards translations of 2 MiB, which hardware
// judges once for all of them; here each 4 KiB is judged, and kept, by itself.
test.each<[RmpCheck, 'snp-guest-private' | 'host']>([
  ['guest-owned', 'snp-guest-private'],
  ['reverse-map', 'snp-guest-private'],
  ['validated', 'snp-guest-private'],
  ['vmpl', 'snp-guest-private'],
  ['hypervisor-owned', 'host'],
])('hardware without this check breaks it: %s of a %s', (check, accessor) => {
  const list = RMP_CHECKS[accessor].write as RmpCheck[];
  const at = list.indexOf(check);
  list.splice(at, 1);
  try {
    expect(broken(ALL_DUTIES)).toMatch(/reads/);
  } finally {
    list.splice(at, 0, check);
  }
});

afterAll(() => {
  if (cases <= 100) return;
  console.log(`${cases * CAMPAIGNS * STEPS} steps, FC_SEED=${seed}:`, JSON.stringify(total));
});
