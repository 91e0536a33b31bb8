/** Nested page tables against walkers written in another way: PageTable for NPT, and one from the text of the manual for EPT. */
import { PAGE_SIZE, physAddr, Virt57 } from '@svsm/address';
import { createPhysMemory, isPageTableError, PageTable, pagingConfig } from '@svsm/pagetable';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type NestedOptions, NestedPaging } from '../../src/backing/nested-paging.ts';

/** Tables at frames 0 to 7. */
const TABLES = 8;
const entryFlags = fc.integer({ min: 0, max: 0x1ff });
const tables = fc.array(
  fc.record({
    table: fc.nat(TABLES - 1),
    index: fc.constantFrom(0, 1, 2, 511),
    frame: fc.oneof(
      fc.nat(TABLES),
      fc.nat(TABLES),
      fc.constantFrom(0x200, 0x201, 0x4_0000, 0x4_0200, 0x10_0000_0000),
    ),
    flags: fc.oneof(entryFlags, fc.constantFrom(7, 0x37, 0xb7, 0x87, 5, 0x67, 0xe7)),
    high: fc.constantFrom(0n, 0n, 0n, 1n << 63n, 1n << 46n, 1n << 51n),
  }),
  { minLength: 4, maxLength: 40 },
);
const index = fc.constantFrom(0, 1, 2, 3, 511);
const addresses = fc.array(fc.tuple(index, index, index, index, index), { minLength: 1, maxLength: 20 });

type Entries = typeof tables extends fc.Arbitrary<infer Value> ? Value : never;

function memoryOf(list: Entries): BigUint64Array {
  const words = new BigUint64Array(TABLES * 512);
  for (const { table, index: at, frame, flags, high } of list) {
    words[table * 512 + at] = (BigInt(frame) << 12n) | BigInt(flags) | high;
  }
  return words;
}
const readerOf = (words: BigUint64Array) => (frame: number, bytes: Uint8Array) => {
  if (frame >= TABLES) return false;
  bytes.set(new Uint8Array(words.buffer, frame * PAGE_SIZE, PAGE_SIZE));
  return true;
};
const gfnOf = (indexes: readonly number[], levels: number): number =>
  indexes.slice(0, levels).reduce((sum, one) => sum * 512 + one, 0);

/** Intel SDM vol. 3C, §29.3.2 and §29.3.3, with bigints, from the top down. */
function walkEpt(words: BigUint64Array, gpa: bigint, levels: number, width: number) {
  const bit = (value: bigint, from: number, to = from): bigint =>
    (value >> BigInt(from)) & ((1n << BigInt(to - from + 1)) - 1n);
  let at = 0n;
  let rights = 7n;
  for (let level = levels; level >= 1; level -= 1) {
    if (at >= BigInt(TABLES)) return 'bus-error';
    const shift = 12 + 9 * (level - 1);
    const entry = words[Number(at * 512n + bit(gpa, shift, shift + 8))]!;
    const rwx = bit(entry, 0, 2);
    if (rwx === 0n) return 'not-present';
    if (rwx === 0b010n || rwx === 0b110n) return 'misconfigured';
    if (width < 52 && bit(entry, width, 51) !== 0n) return 'misconfigured';
    const maps = level === 1 || (level <= 3 && bit(entry, 7) === 1n);
    if (maps) {
      if ([2n, 3n, 7n].includes(bit(entry, 3, 5))) return 'misconfigured';
      if (level > 1 && bit(entry, 12, shift - 1) !== 0n) return 'misconfigured';
      rights &= rwx;
      const size = 1n << BigInt(shift);
      const start = bit(entry, 12, 51) * 4096n;
      return { paddr: start - (start % size) + (gpa % size), size, rights };
    }
    if (bit(entry, 3, level >= 4 ? 7 : 6) !== 0n) return 'misconfigured';
    rights &= rwx;
    at = bit(entry, 12, 51);
  }
  return 'unreachable';
}

describe('a nested page table', () => {
  test('of AMD translates as PageTable does', () => {
    fc.assert(
      fc.property(
        tables,
        addresses,
        fc.constantFrom(4, 5),
        fc.constantFrom(45, 52),
        (list, asked, levels, bits) => {
          const words = memoryOf(list);
          const nested = new NestedPaging(readerOf(words), {
            format: 'npt',
            pointer: 0n,
            levels: levels as 4,
            physicalBits: bits,
          });
          const memory = createPhysMemory({ readFrame: readerOf(words) });
          const config = pagingConfig({ levels: levels as 4, physicalBits: bits });
          const table = PageTable.open(physAddr(0), { memory, config });
          for (const indexes of asked) {
            const gfn = gfnOf(indexes, levels);
            const page = nested.translate(gfn);
            const vaddr = Virt57.address(
              BigInt.asUintN(64, BigInt.asIntN(levels === 4 ? 48 : 57, BigInt(gfn) << 12n)),
            );
            let wanted: unknown;
            try {
              const { page: found } = table.walk(vaddr);
              wanted =
                found === undefined
                  ? 'not-present'
                  : [Number(found.paddr / 4096n), found.size, found.user, found.writable, found.executable];
            } catch (error) {
              if (isPageTableError(error, 'BUS_ERROR')) wanted = 'bus-error';
              else if (isPageTableError(error, 'RESERVED_BITS')) wanted = 'misconfigured';
              else throw error;
            }
            const shown =
              'frame' in page
                ? [page.frame, page.pageSize, page.user, page.writable, page.executable]
                : page.obstacle;
            expect(shown).toEqual(wanted);
          }
        },
      ),
    );
  });

  test('of Intel translates as the manual says', () => {
    fc.assert(
      fc.property(
        tables,
        addresses,
        fc.constantFrom(4, 5),
        fc.constantFrom(45, 52),
        (list, asked, levels, bits) => {
          const words = memoryOf(list);
          const pointer = 6n | (BigInt(levels - 1) << 3n) | 0x40n;
          const nested = new NestedPaging(readerOf(words), { format: 'ept', pointer, physicalBits: bits });
          expect(nested.levels).toBe(levels);
          for (const indexes of asked) {
            const gfn = gfnOf(indexes, levels);
            const page = nested.translate(gfn);
            const wanted = walkEpt(words, BigInt(gfn) << 12n, levels, bits);
            if (typeof wanted === 'string') expect(page).toMatchObject({ obstacle: wanted });
            else {
              expect(page).toMatchObject({
                frame: Number(wanted.paddr >> 12n),
                pageSize: Number(wanted.size),
                readable: (wanted.rights & 1n) !== 0n,
                writable: (wanted.rights & 2n) !== 0n,
                executable: (wanted.rights & 4n) !== 0n,
              });
            }
          }
        },
      ),
    );
  });

  test.each(['npt', 'ept'] as const)(
    '%s: its runs are the frames that it translates, and a gap is a gap to its end',
    (format) => {
      fc.assert(
        fc.property(tables, (list) => {
          // Without tables that lead to themselves, so that the runs are few.
          const tree = list.map((one) => ({
            ...one,
            frame: one.frame < TABLES ? Math.max(one.frame, one.table + 1) : one.frame,
          }));
          const nested = new NestedPaging(readerOf(memoryOf(tree)), {
            format,
            pointer: format === 'ept' ? 0x1en : 0n,
          });
          let next = 0;
          for (const { first, count, frame, writable } of nested.runs()) {
            expect(first).toBeGreaterThanOrEqual(next);
            for (let at = next; at < first; ) {
              const gap = nested.translate(at);
              expect(gap).toHaveProperty('obstacle');
              at += (gap as { count: number }).count;
              expect(at).toBeLessThanOrEqual(first);
            }
            for (const at of [0, 1, count >> 1, count - 1].filter((one) => one < count)) {
              expect(nested.translate(first + at)).toMatchObject({ frame: frame + at, writable });
            }
            next = first + count;
          }
        }),
        { numRuns: 60 },
      );
    },
  );

  test('is refused if its pointer leads nowhere, or its options are wrong', () => {
    const open = (options: Partial<NestedOptions>) => () =>
      new NestedPaging((frame) => frame === 0, { format: 'npt', pointer: 0n, ...options });
    expect(open({ pointer: 0x1000n })).toThrow(
      /nCR3 points to 0x0000000000001000, where the dump has no memory/,
    );
    expect(open({ format: 'ept', pointer: 0x1000n })).toThrow(/EPTP points to/);
    expect(open({ format: 'x' as 'ept' })).toThrow('INVALID_ARGUMENT');
    expect(open({ levels: 3 as 4 })).toThrow('INVALID_ARGUMENT');
    expect(open({ pointer: -1n })).toThrow('INVALID_ARGUMENT');
    expect(open({ physicalBits: 53 })).toThrow('INVALID_ARGUMENT');
    expect(open({ cBit: 52 })).toThrow('INVALID_ARGUMENT');
    expect(open({ pointer: 1n << 47n, cBit: 47 })).not.toThrow();
  });

  test('with entries that all lead to itself has a listing with an end', () => {
    const words = new BigUint64Array(512).fill(0x67n);
    const nested = new NestedPaging(readerOf(words), { format: 'npt', pointer: 0n });
    expect(() => {
      for (const _ of nested.runs());
    }).toThrow(/more than 1048576/);
  });
});

test('a table of 4 levels has no guest frames from 2^36 on', () => {
  const words = new BigUint64Array(TABLES * 512);
  words[0] = 0x1007n;
  words[512] = 0xb7n | (1n << 30n);
  for (const format of ['ept', 'npt'] as const) {
    const nested = new NestedPaging(readerOf(words), { format, pointer: 0n });
    expect(nested.translate(5)).toMatchObject({ frame: 0x4_0005, pageSize: 2 ** 30 });
    expect(nested.translate(2 ** 36 + 5)).toEqual({ obstacle: 'not-present', count: 2 ** 45 - 2 ** 36 - 5 });
  }
});
