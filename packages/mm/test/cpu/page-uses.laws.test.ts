import { PAGE_SIZE, physAddr } from '@svsm/address';
import { type MemoryRegion, physRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PageUses } from '../../src/cpu/page-uses.ts';

test('counts the uses of each page, in whatever regions they come and go', () => {
  const region = fc
    .tuple(fc.nat(15), fc.integer({ min: 1, max: 6 }))
    .map(([page, pages]) => physRegion(physAddr(page * PAGE_SIZE), pages * PAGE_SIZE));
  fc.assert(
    fc.property(fc.array(fc.oneof(region, fc.nat(9)), { maxLength: 40 }), (steps) => {
      const uses = new PageUses();
      const held: MemoryRegion<ReturnType<typeof physAddr>>[] = [];
      for (const step of steps) {
        if (typeof step === 'object') {
          uses.add(step);
          held.push(step);
        } else {
          const [gone] = held.splice(step % Math.max(held.length, 1), 1);
          if (gone !== undefined) uses.remove(gone);
        }
        for (let page = 0; page < 22; page += 1) {
          const from = physRegion(physAddr(page * PAGE_SIZE), (22 - page) * PAGE_SIZE);
          const used = [...from.iterPages(PAGE_SIZE)].find((gpa) => held.some((one) => one.contains(gpa)));
          expect(uses.firstIn(from)).toBe(used);
        }
      }
    }),
  );
});
