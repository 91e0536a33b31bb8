import { expect, test } from 'vitest';
import { Cr0Flags, Cr4Flags, EferFlags } from '../../src/entry/control-flags.ts';

/** Intel SDM vol. 3A, §2.5 and §2.2.1; AMD64 APM vol. 2, §3.1. */
test.each<[string, Readonly<Record<string, bigint>>, Readonly<Record<string, number>>]>([
  ['Cr0Flags', Cr0Flags, { Pe: 0, Et: 4, Wp: 16, Nw: 29, Cd: 30, Pg: 31 }],
  [
    'Cr4Flags',
    Cr4Flags,
    { Pse: 4, Pae: 5, Pge: 7, La57: 12, Pcide: 17, Smep: 20, Smap: 21, Pke: 22, Cet: 23, Pks: 24 },
  ],
  ['EferFlags', EferFlags, { Lme: 8, Lma: 10, Nxe: 11 }],
])('%s are the bits of the manuals', (_, flags, positions) => {
  const expected = Object.entries(positions).map(([name, bit]) => [name, 1n << BigInt(bit)]);
  expect(flags).toEqual(Object.fromEntries(expected));
});
