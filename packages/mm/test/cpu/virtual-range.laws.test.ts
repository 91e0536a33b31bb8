import { PAGE_SIZE, virtAddr } from '@svsm/address';
import { type MemoryRegion, virtRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { VirtualRange } from '../../src/cpu/virtual-range.ts';
import { isMmError } from '../../src/formats/mm-error.ts';

test('allocations and their guards never overlap, and what is freed can be had again', () => {
  const step = fc.oneof(
    fc.record({ pages: fc.integer({ min: 1, max: 9 }), align: fc.integer({ min: 0, max: 3 }) }),
    fc.nat(20),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 2 }), (steps, guardPages) => {
      const whole = virtRegion(virtAddr(0xffff_ff00_4000_0000n), 64 * PAGE_SIZE);
      const range = new VirtualRange(whole, { guardPages });
      const held: MemoryRegion<ReturnType<typeof virtAddr>>[] = [];
      for (const one of steps) {
        if (typeof one === 'number') {
          const [freed] = held.splice(one % Math.max(held.length, 1), 1);
          if (freed) range.free(freed);
          continue;
        }
        try {
          const got = range.allocate(one.pages, PAGE_SIZE << one.align);
          expect(got.start % BigInt(PAGE_SIZE << one.align)).toBe(0n);
          const guarded = virtRegion(got.start, got.size + BigInt(guardPages * PAGE_SIZE));
          expect(whole.containsRegion(guarded)).toBe(true);
          for (const other of held)
            expect(
              guarded.overlaps(virtRegion(other.start, other.size + BigInt(guardPages * PAGE_SIZE))),
            ).toBe(false);
          held.push(got);
        } catch (error) {
          if (!isMmError(error, 'NO_VIRTUAL_RANGE')) throw error;
        }
      }
      for (const one of held) range.free(one);
      expect(range.allocate(64 - guardPages).start).toBe(whole.start);
    }),
  );
});
