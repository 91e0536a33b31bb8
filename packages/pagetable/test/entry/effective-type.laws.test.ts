import { PageSize, type PhysAddr, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CacheControlOptions, cacheControl } from '../../src/entry/cache-control.ts';
import { memoryTypesOf, nestedMemoryTypesOf, tableMemoryTypesOf } from '../../src/entry/effective-type.ts';
import { leafFlags } from '../../src/entry/entry-bits.ts';
import type { MemoryType, MtrrType } from '../../src/entry/memory-type.ts';
import { decodeMtrrs, encodeVariableMtrr } from '../../src/entry/mtrr.ts';
import { accessTarget, mtrrType } from '../../src/entry/mtrr-type.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { decodePat, encodePat, type Pat, patIndex, tablePatIndex } from '../../src/entry/pat.ts';

const memoryType = fc.constantFrom<MemoryType[]>('UC', 'WC', 'WT', 'WP', 'WB', 'UC-');
const mtrr = fc.constantFrom<MtrrType[]>('UC', 'WC', 'WT', 'WP', 'WB');
const pat = fc
  .array(memoryType, { minLength: 8, maxLength: 8 })
  .map((types) => encodePat(types as unknown as Pat));
const vendor = fc.constantFrom<('amd' | 'intel')[]>('amd', 'intel');
const bits = fc.record({ pat: fc.boolean(), cacheDisable: fc.boolean(), writeThrough: fc.boolean() });
const cr0 = fc.constantFrom(0x8000_0000n, 0xc000_0000n, 0n, 0x4000_0000n);
const range = fc.record({
  start: fc.integer({ min: 0, max: 1023 }),
  shift: fc.integer({ min: 12, max: 22 }),
  type: mtrr,
});

/** A processor with up to four ranges in its first 4 MiB. */
const state = fc
  .record({
    pat,
    vendor,
    cr0,
    ranges: fc.array(range, { maxLength: 4 }),
    defType: fc.constantFrom(0x800n, 0x806n, 0n),
  })
  .map(({ ranges, defType, vendor, ...rest }) => {
    const config = pagingConfig({ physicalBits: 40, vendor });
    const variable = ranges.map(({ start, shift, type }) => {
      const size = 2 ** shift;
      return encodeVariableMtrr(physAddr(Math.floor((start * 4096) / size) * size), size, type, config);
    });
    return { ...rest, mtrrs: decodeMtrrs({ defType, variable }, config) };
  });

describe('memory types', () => {
  // P66
  test('of a large page, where specified, are those of each of its parts', () => {
    fc.assert(
      fc.property(state, bits, fc.integer({ min: 0, max: 511 }), (options, named, part) => {
        const control = cacheControl(options);
        const paddr = physAddr(part * 0x1000);
        const large = { flags: leafFlags(1, named), size: PageSize.Huge, paddr };
        const small = { flags: leafFlags(0, named), size: PageSize.Regular, paddr };
        const found = memoryTypesOf(large, control).effective;
        const ofPart = memoryTypesOf(small, control).effective;
        if (found !== 'unspecified') expect(found).toBe(ofPart);
        const split = cacheControl({ ...options, mixedPages: 'split' });
        expect(memoryTypesOf(large, split).effective).toBe(ofPart);
      }),
    );
  });

  // P60
  test('of a table are those of a page with the same PCD and PWT, and PAT clear', () => {
    fc.assert(
      fc.property(state, bits, fc.integer({ min: 0, max: 1023 }), (options, named, frame) => {
        const control = cacheControl({ ...options, cr0: options.cr0 | 0x8000_0000n });
        const paddr = physAddr(frame * 0x1000);
        const flags = leafFlags(0, { ...named, pat: false });
        const expected = memoryTypesOf({ flags, size: PageSize.Regular, paddr }, control);
        expect(tableMemoryTypesOf(leafFlags(0, named), paddr, control)).toEqual(expected);
      }),
    );
  });

  test('of a guest are those of the host alone, if the guest asks for WB and the host does not for UC-', () => {
    fc.assert(
      fc.property(state, bits, fc.integer({ min: 0, max: 1023 }), (options, named, frame) => {
        fc.pre(options.mtrrs.vendor === 'amd');
        const control = cacheControl({ ...options, cr0: 0x8000_0000n });
        const nested = {
          flags: leafFlags(0, named),
          size: PageSize.Regular,
          paddr: physAddr(frame * 0x1000),
        };
        const { pat: host, mtrr: verdict, effective } = memoryTypesOf(nested, control);
        const guest = { flags: leafFlags(0), size: PageSize.Regular };
        const combined = host === 'UC-' ? 'UC' : host;
        const found = nestedMemoryTypesOf(guest, nested, {}, control);
        expect(found).toMatchObject({ guest: 'WB', host, combined, mtrr: verdict });
        if (host !== 'UC-') expect(found.effective).toBe(effective);
      }),
    );
  });

  // P12
  test('of an SNP guest are never UC or WC', () => {
    fc.assert(
      fc.property(state, pat, bits, bits, (options, guestPat, guestBits, hostBits) => {
        fc.pre(options.mtrrs.vendor === 'amd');
        const control = cacheControl({ ...options, cr0: options.cr0 | 0x8000_0000n });
        const nested = { flags: leafFlags(0, hostBits), size: PageSize.Regular, paddr: physAddr(0) };
        const guest = { flags: leafFlags(0, guestBits), size: PageSize.Regular };
        const { effective } = nestedMemoryTypesOf(guest, nested, { pat: guestPat, snp: true }, control);
        expect(['UC', 'WC']).not.toContain(effective);
      }),
    );
  });
});

describe('whatever the input, errors', () => {
  const junk = fc.oneof(
    fc.anything({ withBigInt: true }),
    fc.bigInt({ min: -2n, max: 2n ** 65n }),
    fc.constantFrom<unknown[]>(0, -1, 4096, PageSize.Huge, 'WB', 'UC-', 'amd', 'CD', 0x800n, 0x806n),
  );
  const some = fc.record(
    {
      flags: junk,
      size: junk,
      paddr: junk,
      pat: junk,
      cr0: junk,
      snp: junk,
      cacheDisable: junk,
      mixedPages: junk,
    },
    { requiredKeys: [] },
  );
  const registers = fc.record(
    {
      cap: junk,
      defType: junk,
      fixed: fc.oneof(junk, fc.array(junk)),
      variable: fc.array(junk),
      syscfg: junk,
    },
    { requiredKeys: [] },
  );
  const mtrrs = decodeMtrrs({ defType: 0x806n });
  const control = cacheControl({ mtrrs });

  test('are of this package, with a code that the documentation names', () => {
    fc.assert(
      fc.property(some, registers, junk, junk, (options, words, one, other) => {
        const page = { flags: 1, size: PageSize.Regular, paddr: 0n as PhysAddr };
        const calls: [codes: string[], call: () => unknown][] = [
          [['INVALID_CPU_STATE'], () => decodePat(one as never)],
          [['INVALID_CPU_STATE'], () => encodePat(one as never)],
          [['INVALID_ENTRY'], () => patIndex(one as never, other as never)],
          [['INVALID_ENTRY'], () => tablePatIndex(one as never)],
          [['INVALID_CPU_STATE'], () => decodeMtrrs(words as never)],
          [['INVALID_CPU_STATE'], () => encodeVariableMtrr(one as never, other as never, 'WB')],
          [['INVALID_CPU_STATE'], () => cacheControl({ mtrrs, ...options } as CacheControlOptions)],
          [
            ['OUTSIDE_PHYSICAL_RANGE', 'INVALID_PAGE_SIZE'],
            () => mtrrType(mtrrs, one as never, other as never),
          ],
          [['OUTSIDE_PHYSICAL_RANGE'], () => accessTarget(mtrrs, one as never)],
          [
            ['INVALID_ENTRY', 'INVALID_PAGE_SIZE', 'OUTSIDE_PHYSICAL_RANGE'],
            () => memoryTypesOf({ ...page, ...options } as never, control),
          ],
          [
            ['INVALID_ENTRY', 'OUTSIDE_PHYSICAL_RANGE'],
            () => tableMemoryTypesOf(one as never, other as never, control),
          ],
          [
            ['INVALID_ENTRY', 'INVALID_PAGE_SIZE', 'OUTSIDE_PHYSICAL_RANGE', 'INVALID_CPU_STATE'],
            () => nestedMemoryTypesOf({ ...page, ...options } as never, page, options as never, control),
          ],
        ];
        for (const [codes, call] of calls) {
          try {
            call();
          } catch (error) {
            if (!isPageTableError(error)) throw error;
            expect(codes).toContain(error.code);
          }
        }
      }),
    );
  });
});
