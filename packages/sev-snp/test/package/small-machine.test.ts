import { expect, test } from 'vitest';
import { RMP_CHECKS, type RmpCheck } from '../../src/rmp/rmp-check.ts';
import { ALL_DUTIES, type Duties } from '../support/adversary-world.ts';
import { explore } from '../support/explore.ts';
import { exploreSmall, SMALL_MACHINES } from '../support/small-machines.ts';
import { PagesMachine, type PagesOptions } from '../support/tiny-pages.ts';
import { TlbsMachine, type TlbsOptions } from '../support/tiny-tlbs.ts';
import { UnbackedMachine } from '../support/tiny-unbacked.ts';

/*
 * The central law in every reachable state of small machines: what a guest reads from a private, validated page is what a
 * guest wrote there last, or the read faults; and no level gains a right that a higher level did not give. Where memory is
 * unaccepted, no page is validated twice without being invalidated between, and every private access to a hole faults.
 * Random campaigns (`host/hostile-hypervisor.laws.test.ts`) reach more kinds of states, but miss some.
 */

/** The extent of all of them. */
const count = { states: 0, transitions: 0 };

// A1, A2, A3, A4, A5, A6, A7, A11, A13
test.each(SMALL_MACHINES.map((small) => [small.name, small] as const))('%s: every state', (_name, small) => {
  const { counterexample, tally, states, transitions } = exploreSmall(small);
  expect(counterexample).toBeUndefined();
  count.states += states;
  count.transitions += transitions;
  // The law says nothing about steps that never happen.
  for (const what of small.includes) expect(tally[what], what).toBeGreaterThan(0);
});

// `DESIGN.md` says how much that is.
test('the small machines have thousands of states', () => {
  expect([count.states, count.transitions]).toEqual([4947, 167_707]);
});

/** The shortest sequence that breaks the law. */
function attackOn(options: Partial<PagesOptions>): string | undefined {
  const machine = new PagesMachine({ addresses: 1, spares: 1, ...options });
  return explore(machine, { depth: 0 }).counterexample?.replace(/: .*/, '');
}

// A4, A9, I10, I11, G12
test.each<[keyof Duties, string]>([
  ['record', 'map a0 to f1; accept a0'],
  ['clear', 'write a0; share a0; take back a0; read a0'],
  ['carry', 'give f1 as a0; map a0 to f1; share a0; take back a0'],
  ['rescind', 'map a0 to f1; share a0; take back a0'],
])('the shortest attack on a guest without this duty: %s', (duty, attack) => {
  expect(attackOn({ duties: { ...ALL_DUTIES, [duty]: false } })).toBe(attack);
});

test.each<[string, Partial<TlbsOptions>, string]>([
  [
    'flush',
    { flushes: false },
    'VMPL0 lets VMPL1 do all; read at VMPL1; VMPL0 lets VMPL1 do nothing; read at VMPL1',
  ],
  [
    'revoke',
    { revokes: false },
    'give f1; VMPL0 lets VMPL1 do all; rescind; map f1; validate; VMPL0 lets VMPL1 do nothing; rescind; map f0; validate; read at VMPL1',
  ],
])('the shortest attack on a guest without this duty: %s', (_duty, options, attack) => {
  const machine = new TlbsMachine({ levels: 2, others: false, ...options });
  expect(explore(machine, { depth: 0 }).counterexample?.replace(/: .*/, '')).toBe(attack);
});

test('the shortest attack on a guest that keeps no record, and so validates a hole', () => {
  const machine = new UnbackedMachine({ launched: 0, unaccepted: 1, spares: 0, records: false });
  const attack = explore(machine, { depth: 0 }).counterexample?.replace(/: .*/, '');
  expect(attack).toBe('give f0 as the hole; map the hole to f0; validate the hole');
});

// R20
test.each<[RmpCheck, 'snp-guest-private' | 'host', Partial<PagesOptions>, string]>([
  ['guest-owned', 'snp-guest-private', { foreign: true }, 'map a0 to f2; read a0'],
  ['reverse-map', 'snp-guest-private', { addresses: 2 }, 'map a1 to f0; write a0; read a1'],
  ['validated', 'snp-guest-private', {}, 'give f1 as a0; map a0 to f1; read a0'],
  ['hypervisor-owned', 'host', {}, 'write f0; read a0'],
])('the shortest attack on hardware without this check: %s of a %s', (check, accessor, options, attack) => {
  const list = RMP_CHECKS[accessor].write as RmpCheck[];
  const at = list.indexOf(check);
  list.splice(at, 1);
  try {
    expect(attackOn(options)).toBe(attack);
  } finally {
    list.splice(at, 0, check);
  }
});
