import { Phys, type PhysAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PageClaims } from '../../src/svsm/page-claims.ts';

/** A step of one of three calls: it claims pages, or ends its oldest claim. */
const step = fc.record({
  call: fc.nat({ max: 2 }),
  first: fc.nat({ max: 7 }),
  count: fc.integer({ min: 1, max: 4 }),
  isEnd: fc.integer({ min: 0, max: 2 }).map((one) => one === 0),
});

test('a call gets pages unless another call has one of them, and has them until its claim ends', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const claims = new PageClaims();
      const calls = [{}, {}, {}];
      const held: { call: number; pages: number[]; end: () => void }[] = [];
      for (const { call, first, count, isEnd } of steps) {
        if (isEnd) {
          const at = held.findIndex((one) => one.call === call);
          if (at >= 0) held.splice(at, 1)[0]!.end();
          continue;
        }
        const pages = Array.from({ length: count }, (_, k) => first + k);
        const isFree = !held.some(
          (one) => one.call !== call && one.pages.some((page) => pages.includes(page)),
        );
        const region = new MemoryRegion(Phys, BigInt(first * 4096) as PhysAddr, BigInt(count * 4096));
        const end = claims.tryClaim(calls[call]!, region);
        expect(end !== undefined).toBe(isFree);
        if (end !== undefined) held.push({ call, pages, end });
      }
    }),
  );
});
