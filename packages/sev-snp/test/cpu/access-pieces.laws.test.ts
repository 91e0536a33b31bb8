import { PAGE_SIZE, Virt, type VirtAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Piece, piecesOf } from '../../src/cpu/access-pieces.ts';
import type { GuestMmu } from '../../src/cpu/guest-mmu.ts';

/** A processor in 64-bit mode with addresses of 48 bits; `limit`: the end of its segment. */
function processor(limit?: bigint): GuestMmu {
  const mmu: Pick<GuestMmu, 'linear' | 'endsInSegment' | 'add' | 'refusal'> = {
    linear: (gva) => (Virt.isAddress(gva) ? gva : undefined),
    endsInSegment: (linear, length) => limit === undefined || linear + BigInt(length) <= limit,
    add: (linear, bytes) => Virt.checkedAdd(linear, bytes),
    refusal: (gva) => new Error(`refused ${gva}`) as never,
  };
  return mmu as GuestMmu;
}

/** The pieces up to the end, or up to the refusal. */
function pieces(mmu: GuestMmu, gva: bigint, length: number, taken: (piece: Piece) => number | undefined) {
  const found: Piece[] = [];
  let end = 'end';
  try {
    const all = piecesOf(mmu, gva as VirtAddr, length, 'read', {});
    for (let next = all.next(); next.done !== true; next = all.next(taken(next.value)))
      found.push(next.value);
  } catch (error) {
    end = (error as Error).message;
  }
  return { found, end };
}

const HALF = 1n << 47n;
const address = fc.oneof(
  fc.bigInt({ min: 0n, max: 1n << 20n }),
  fc.bigInt({ min: 1n, max: 20_000n }).map((below) => HALF - below),
  fc.bigInt({ min: 1n, max: 20_000n }).map((below) => (1n << 64n) - below),
  fc.constantFrom(HALF, 1n << 63n),
);

test('the pieces of an access follow each other, none crosses a page, and the first address that is not one is refused', () => {
  fc.assert(
    fc.property(address, fc.nat(20_000), fc.nat(2), (gva, length, more) => {
      const { found, end } = pieces(processor(), gva, length, ({ count }) =>
        more === 0 ? undefined : count * more,
      );
      const isAddress = Virt.isAddress(gva);
      const inHalf = !isAddress ? 0 : Number((gva < HALF ? HALF : 1n << 64n) - gva);
      let start = 0;
      for (const piece of found) {
        expect([piece.start, piece.at]).toEqual([start, gva + BigInt(start)]);
        expect(piece.count).toBe(Math.min(PAGE_SIZE - Number(piece.at % 4096n), length - start));
        start += piece.count * Math.max(more, 1);
      }
      expect(end).toBe(length === 0 || (isAddress && start >= length) ? 'end' : `refused ${gva}`);
      if (end === 'end') expect(start).toBeGreaterThanOrEqual(length);
      else expect(start).toBeGreaterThanOrEqual(inHalf);
    }),
    {
      examples: [
        [HALF, 0, 0],
        [HALF, 1, 0],
        [HALF - 1n, 1, 0],
        [HALF - 4096n, 4097, 0],
        [(1n << 64n) - 1n, 2, 0],
        [5n, 0, 2],
      ],
    },
  );
});

test('an access past the end of its segment has no pieces', () => {
  const none = () => undefined;
  expect(pieces(processor(0x3000n), 0x2fffn, 2, none)).toEqual({ found: [], end: `refused ${0x2fff}` });
  expect(pieces(processor(0x3000n), 0x2fffn, 1, none).end).toBe('end');
});
