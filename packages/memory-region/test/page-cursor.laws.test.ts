import { type Address, type AddressKind, PageSize, Phys, Virt, Virt57 } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pageAddress } from '../src/index.ts';
import { END_64, END_PHYS, HIGH_START, LOW_END, region } from './support.ts';

/** Places of up to 64 pages: most of them at a limit, or where the high word of an address changes. */
const PLACES: readonly (readonly [
  name: string,
  kind: AddressKind<Address>,
  base: (bytes: bigint) => bigint,
])[] = [
  ['from 0 on', Virt, () => 0n],
  ['below the hole', Virt, (bytes) => LOW_END - bytes],
  ['above the hole', Virt, () => HIGH_START],
  ['below 2^64', Virt, (bytes) => END_64 - bytes],
  ['below the hole of 57 bits', Virt57, (bytes) => 2n ** 56n - bytes],
  ['below 2^52', Phys, (bytes) => END_PHYS - bytes],
];

const size = fc.constantFrom(PageSize.Regular, PageSize.Huge, PageSize.Giant);
const shape = fc.record({ size, count: fc.nat(64), shift: fc.nat(64) });

describe.each(PLACES)('a cursor over pages %s', (name, kind, base) => {
  const pagesOf = ({ size, count, shift }: { size: PageSize; count: number; shift: number }) => {
    const step = BigInt(size);
    const place = base(BigInt(count + shift) * step);
    // From the lower limit the pages lie above the shift, else below the limit by the shift.
    const start = name.startsWith('below') ? place : place + BigInt(shift) * step;
    return region(kind, start, start + BigInt(count) * step);
  };

  test('has the addresses of iterPages', () => {
    fc.assert(
      fc.property(shape, (one) => {
        const pages = pagesOf(one);
        const addresses = [...pages.iterPages(one.size)];
        const halves: number[][] = [];
        const seen: bigint[] = [];
        for (const page of pages.cursor(one.size)) {
          expect(page.index).toBe(seen.length);
          expect(pageAddress(page)).toBe(page.address);
          seen.push(page.address);
          halves.push([page.low, page.high]);
        }
        expect(seen).toEqual(addresses);
        const split = addresses.map((address) => [
          Number(BigInt.asIntN(32, address)),
          Number(BigInt.asIntN(32, address >> 32n)),
        ]);
        expect(halves).toEqual(split);
      }),
    );
  });

  test('goes to any page, from any page', () => {
    fc.assert(
      fc.property(shape, fc.array(fc.nat(63)), (one, indexes) => {
        const pages = pagesOf(one);
        const addresses = [...pages.iterPages(one.size)];
        const cursor = pages.cursor(one.size);
        for (const index of indexes.filter((index) => index < one.count)) {
          expect(cursor.goTo(index).address).toBe(addresses[index]);
          expect(cursor.index).toBe(index);
          const next = cursor.next();
          expect(next.done === true ? undefined : next.value.address).toBe(addresses[index + 1]);
        }
      }),
    );
  });
});

test('goes to any page of the largest region', () => {
  const pages = region(Phys, 0n, END_PHYS).cursor(PageSize.Regular);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 40 - 1 }), (index) => {
      expect(pages.goTo(index).address).toBe(BigInt(index) * 0x1000n);
    }),
  );
});
