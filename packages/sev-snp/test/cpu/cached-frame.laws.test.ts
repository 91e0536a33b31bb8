import { PAGE_SIZE, PageSize } from '@svsm/address';
import type { AccessKind, MappedPage } from '@svsm/pagetable';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cachedFrame } from '../../src/cpu/cached-frame.ts';
import { accessBit } from '../../src/cpu/guest-access.ts';
import type { GuestMmu } from '../../src/cpu/guest-mmu.ts';
import type { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import type { GuestContext } from '../../src/cpu/platform.ts';

const guest = {} as GuestContext;
const FOUND = 77;

/** The frame of an access, and what the nested TLB was asked. */
function found(page: MappedPage | undefined, gva: unknown, length: number, kind: AccessKind, cpl: number) {
  const asked: unknown[] = [];
  const mmu = { cpl, privatePage: (...args: unknown[]) => (args[0] === gva ? page : undefined) };
  const nestedTlb = {
    frameOf: (...args: unknown[]) => {
      asked.push(args);
      return FOUND;
    },
  };
  const cpu = { guest, vmpl: 2 as const };
  const [cachedMmu, tlb] = [mmu as unknown as GuestMmu, nestedTlb as unknown as NestedTlb];
  const frame = cachedFrame(cpu, cachedMmu, tlb, gva as never, length, kind, {});
  return { frame, asked };
}

const SIZES = [PageSize.Regular, PageSize.Huge, 1 << 30];
const gva = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: -(2n ** 65n), max: 2n ** 65n }),
  fc.constantFrom(-1n, 2n ** 64n, undefined, 5, '5'),
);
const length = fc.oneof(fc.constantFrom(0, 1, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1), fc.nat(PAGE_SIZE));

test('an access within one cached page has the frame of its byte; any other access has none', () => {
  const kind = fc.constantFrom<AccessKind>('read', 'write', 'fetch');
  const place = fc.bigInt({ min: 0n, max: 2n ** 52n - 1n });
  const size = fc.constantFrom(...SIZES);
  fc.assert(
    fc.property(fc.boolean(), place, size, gva, length, kind, fc.constantFrom(0, 3), (...one) => {
      const [isMapped, at, bytes, address, count, access, cpl] = one;
      const frame = at & -BigInt(bytes);
      const page = isMapped ? ({ frame, size: bytes } as unknown as MappedPage) : undefined;
      const is64 = typeof address === 'bigint' && BigInt.asUintN(64, address) === address;
      const isWithin = is64 && count > 0 && Number(address & 0xfffn) + count <= PAGE_SIZE;
      const got = found(page, address, count, access, cpl);
      if (!isWithin || page === undefined) {
        expect(got).toEqual({ frame: -1, asked: [] });
        return;
      }
      const expected = Number((frame + (address & BigInt(bytes - 1))) >> 12n);
      expect(got.frame).toBe(FOUND);
      expect(got.asked).toEqual([[guest, 2, expected, accessBit(access, true, cpl)]]);
    }),
    {
      examples: [
        [true, 5n << 32n, PageSize.Regular, 0x1000n, PAGE_SIZE, 'read', 0],
        [true, (5n << 32n) + 0x20_0000n, PageSize.Huge, 0x12_3456n, 1, 'write', 3],
        [true, 0n, PageSize.Regular, 0x1fffn, 1, 'fetch', 3],
        [true, 0n, PageSize.Regular, 0x1fffn, 2, 'read', 0],
        [true, 0n, PageSize.Regular, 0x1000n, 0, 'read', 0],
        [true, 0n, PageSize.Regular, 2n ** 64n, 1, 'read', 0],
        [true, 0n, PageSize.Regular, 5, 1, 'read', 0],
        [false, 0n, PageSize.Regular, 0n, 1, 'read', 0],
      ],
    },
  );
});

// A kind of access has one bit, and kinds that nested table or RMP can decide differently have two.
test('the bit of an access, for every kind, privilege and use of a shadow stack', () => {
  const bits = (isPrivate: boolean, cpl: number, sss?: boolean): number[] =>
    (['read', 'write', 'fetch', 'table', 'table-update'] as const).map((kind) =>
      Math.log2(accessBit(kind, isPrivate, cpl, sss)),
    );
  for (const cpl of [0, 1, 2]) {
    expect([bits(false, cpl), bits(true, cpl)]).toEqual([
      [0, 2, 4, 6, 8],
      [1, 3, 5, 7, 9],
    ]);
  }
  expect([bits(false, 3), bits(true, 3)]).toEqual([
    [0, 2, 10, 6, 8],
    [1, 3, 10, 7, 9],
  ]);
  for (const cpl of [0, 3]) expect(bits(true, cpl, true)).toEqual([11, 12, 13, 14, 15]);
});
