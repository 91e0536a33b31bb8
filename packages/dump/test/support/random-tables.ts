/** Random page tables, some corrupted, as the memory of a dump. */
import { physAddr } from '@svsm/address';
import { createPhysMemory, writePhys64 } from '@svsm/pagetable';
import fc from 'fast-check';
import type { DumpView } from '../../src/view/dump-view.ts';
import type { ViewOptions } from '../../src/view/view.ts';
import { dumpOf, view } from './support.ts';

const FRAMES = 8;
/** The size of the memory in bytes. */
export const SIZE = FRAMES * 0x1000;

/** Few frames and few indexes, so that tables share tables, point to themselves and outside memory. Some have reserved bits. */
export interface Entry {
  readonly table: number;
  readonly index: number;
  readonly target: number;
  readonly flags: bigint;
  readonly high: bigint;
}

export const entry: fc.Arbitrary<Entry> = fc.record({
  table: fc.nat(FRAMES - 1),
  index: fc.constantFrom(0, 1, 255, 256, 511),
  target: fc.nat(FRAMES + 1),
  flags: fc.constantFrom(0x1n, 0x3n, 0x7n, 0x67n, 0x83n, 0xe7n, 0x0n),
  high: fc.constantFrom(0n, 0n, 0n, 1n << 63n, 1n << 50n),
});
/** The view of the table at address 0. */
export function built(entries: readonly Entry[], options: ViewOptions = {}): DumpView {
  const memory = createPhysMemory({ size: SIZE });
  for (const { table, index, target, flags, high } of entries) {
    // The low address bits of a large page are reserved, so such an entry points to address 0.
    const address = (flags & 0x80n) !== 0n ? 0n : BigInt(target) << 12n;
    writePhys64(memory, physAddr(table * 0x1000 + 8 * index), address | flags | high);
  }
  return view(dumpOf(memory, SIZE), { cr3: 0n, physicalBits: 40, ...options });
}
