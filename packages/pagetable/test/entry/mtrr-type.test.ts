import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import type { MtrrType } from '../../src/entry/memory-type.ts';
import { decodeMtrrs, encodeVariableMtrr, type Mtrrs } from '../../src/entry/mtrr.ts';
import { accessTarget, mtrrType } from '../../src/entry/mtrr-type.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';

const TYPES = ['UC', 'WC', 'WT', 'WP', 'WB'] as const;
const config = pagingConfig({ physicalBits: 40 });

function codeOf(operation: () => unknown): string | undefined {
  try {
    operation();
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
  return undefined;
}

/** MTRRs in which ranges of these types cover the first page of the second GiB. The default is WC. */
function overlapping(...types: readonly MtrrType[]): Mtrrs {
  const variable = types.map((type) => encodeVariableMtrr(physAddr(0x4000_0000), 0x1000, type, config));
  return decodeMtrrs({ defType: 0x801n, variable }, config);
}

describe('mtrrType', () => {
  // P63
  test('is UC everywhere while the MTRRs are disabled', () => {
    const variable = [encodeVariableMtrr(physAddr(0), 1n << 40n, 'WB', config)];
    const mtrrs = decodeMtrrs({ defType: 0x406n, variable }, config);
    for (const size of [PageSize.Regular, PageSize.Huge, PageSize.Giant]) {
      expect(mtrrType(mtrrs, physAddr(0x1234_5678), size)).toBe('UC');
    }
  });

  // P64
  test('resolves an overlap of two types as the manuals do', () => {
    const found = TYPES.map((one) =>
      TYPES.map((other) => mtrrType(overlapping(one, other), physAddr(0x4000_0fff))),
    );
    const c = 'conflict';
    expect(found).toEqual([
      ['UC', 'UC', 'UC', 'UC', 'UC'],
      ['UC', 'WC', c, c, c],
      ['UC', c, 'WT', c, 'WT'],
      ['UC', c, c, 'WP', c],
      ['UC', c, 'WT', c, 'WB'],
    ]);
  });

  // P64
  test('lets UC win over types that conflict, and WT over WB alone', () => {
    const page = physAddr(0x4000_0000);
    expect(mtrrType(overlapping('WC', 'WP', 'UC'), page)).toBe('UC');
    expect(mtrrType(overlapping('UC', 'WC', 'WP'), page)).toBe('UC');
    expect(mtrrType(overlapping('WB', 'WT', 'WB'), page)).toBe('WT');
    expect(mtrrType(overlapping('WB', 'WT', 'WP'), page)).toBe('conflict');
    expect(mtrrType(overlapping(), page)).toBe('WC');
  });

  // P66
  test('reports large pages with parts of several types', () => {
    const mtrrs = overlapping('WB');
    expect(mtrrType(mtrrs, physAddr(0x4000_0000))).toBe('WB');
    expect(mtrrType(mtrrs, physAddr(0x401f_ffff), PageSize.Huge)).toBe('mixed');
    expect(mtrrType(mtrrs, physAddr(0x4020_0000), PageSize.Huge)).toBe('WC');
    expect(mtrrType(mtrrs, physAddr(0x7fff_ffff), PageSize.Giant)).toBe('mixed');
    expect(mtrrType(mtrrs, physAddr(0x8000_0000), PageSize.Giant)).toBe('WC');
    const conflicting = overlapping('WB', 'WP');
    expect(mtrrType(conflicting, physAddr(0x4000_0000), PageSize.Huge)).toBe('mixed');
  });

  // P63
  test('is that of the fixed range below 1 MiB, at each of its ends', () => {
    // Neighbours differ: the types of the 88 ranges go round.
    const codes = [0n, 1n, 4n, 5n, 6n];
    const fixed = Array.from({ length: 11 }, (_, i) =>
      [7, 6, 5, 4, 3, 2, 1, 0].reduce((word, k) => (word << 8n) | codes[(8 * i + k) % 5]!, 0n),
    );
    const mtrrs = decodeMtrrs({ defType: 0xc06n, fixed }, config);
    for (const [i, { start, size }] of mtrrs.fixed.entries())
      for (const paddr of [start, start + size - 1])
        expect(mtrrType(mtrrs, physAddr(paddr))).toBe(TYPES[i % 5]);
    expect(mtrrType(mtrrs, physAddr(0x10_0000))).toBe('WB');
    // A large page has parts of several types only if it holds the first MiB.
    expect(mtrrType(mtrrs, physAddr(0), PageSize.Huge)).toBe('mixed');
    expect(mtrrType(mtrrs, physAddr(0x20_0000), PageSize.Huge)).toBe('WB');
    const alike = decodeMtrrs({ defType: 0xc06n, fixed: fixed.map(() => 0x0606_0606_0606_0606n) }, config);
    expect(mtrrType(alike, physAddr(0), PageSize.Huge)).toBe('WB');
  });

  // P63
  test('follows a mask that selects scattered pages in a page of 2 MiB', () => {
    // Every second page is WB; all others have the default type.
    const variable = [{ base: 6n, mask: 0x1800n }];
    const mixed = decodeMtrrs({ defType: 0x800n, variable }, config);
    expect([0, 1, 2, 3].map((page) => mtrrType(mixed, physAddr(page * 0x1000)))).toEqual([
      'WB',
      'UC',
      'WB',
      'UC',
    ]);
    expect(mtrrType(mixed, physAddr(0), PageSize.Huge)).toBe('mixed');
    const alike = decodeMtrrs({ defType: 0x806n, variable }, config);
    expect(mtrrType(alike, physAddr(0), PageSize.Huge)).toBe('WB');
  });

  // P70
  test('forces WB from 4 GiB to TOP_MEM2', () => {
    const variable = [encodeVariableMtrr(physAddr(0x1_4000_0000), 0x1000, 'UC', config)];
    const system = { syscfg: 0x60_0000n, topMem2: 0x1_8080_0000n };
    const mtrrs = decodeMtrrs({ defType: 0x800n, variable, ...system }, config);
    const at = (paddr: bigint, size?: PageSize) => mtrrType(mtrrs, physAddr(paddr), size);
    expect([0xffff_f000n, 0x1_0000_0000n, 0x1_807f_f000n, 0x1_8080_0000n].map((paddr) => at(paddr))).toEqual([
      'UC',
      'WB',
      'WB',
      'UC',
    ]);
    expect(at(0x1_4000_0000n)).toBe('UC');
    expect(at(0x1_0000_0000n, PageSize.Giant)).toBe('WB');
    expect(at(0x1_8000_0000n, PageSize.Giant)).toBe('mixed');
    expect(at(0x1_8000_0000n, PageSize.Huge)).toBe('WB');
    expect(at(0x1_8080_0000n, PageSize.Huge)).toBe('UC');
    // Without MtrrTom2En, or with the MTRRs disabled, the bit has no effect.
    const without = [
      { defType: 0x800n, syscfg: 0x40_0000n },
      { defType: 0n, ...system },
    ];
    for (const registers of without) {
      expect(mtrrType(decodeMtrrs(registers, config), physAddr(0x1_0000_0000))).toBe('UC');
    }
  });

  test('refuses addresses beyond the width, and sizes that are not page sizes', () => {
    const mtrrs = overlapping('WB');
    for (const paddr of [1n << 40n, -1n, 0, '0', undefined]) {
      expect(codeOf(() => mtrrType(mtrrs, paddr as never))).toBe('OUTSIDE_PHYSICAL_RANGE');
      expect(codeOf(() => accessTarget(mtrrs, paddr as never))).toBe('OUTSIDE_PHYSICAL_RANGE');
    }
    for (const size of [0, 8192, -4096, 0.5, 4096n, '4096']) {
      expect(codeOf(() => mtrrType(mtrrs, physAddr(0), size as never))).toBe('INVALID_PAGE_SIZE');
    }
  });

  // P71
  test('does not take the C-bit as an address bit', () => {
    const encrypted = pagingConfig({ physicalBits: 48, cBit: 47 });
    const mtrrs = decodeMtrrs({ defType: 0x806n }, encrypted);
    expect(mtrrType(mtrrs, physAddr((1n << 47n) - 1n))).toBe('WB');
    expect(codeOf(() => mtrrType(mtrrs, physAddr(1n << 47n)))).toBe('OUTSIDE_PHYSICAL_RANGE');
    const vtom = pagingConfig({ physicalBits: 48, encryption: { mode: 'vtom', bit: 40 } });
    expect(mtrrType(decodeMtrrs({ defType: 0x806n }, vtom), physAddr(1n << 47n))).toBe('WB');
  });
});

describe('accessTarget', () => {
  /** The first fixed ranges, one for each type and each setting of RdMem (0x10) and WrMem (0x8). */
  const codes = [0n, 1n, 4n, 5n, 6n];
  const fields = [0n, 0x8n, 0x10n, 0x18n].flatMap((target) => codes.map((code) => code | target));
  const bytes = [...fields, ...Array.from({ length: 68 }, () => 0n)];
  const fixed = Array.from({ length: 11 }, (_, i) =>
    bytes.slice(8 * i, 8 * i + 8).reduceRight((word, byte) => (word << 8n) | byte, 0n),
  );
  const system = { syscfg: 0x34_0000n, topMem: 0x8000_0000n, topMem2: 0x2_0000_0000n };
  const mtrrs = decodeMtrrs({ defType: 0xc00n, fixed, ...system }, config);

  // P69
  test('has the defined combinations of table 7-13 of the APM', () => {
    const found = mtrrs.fixed.slice(0, 20).map(({ start, type }) => {
      const { reads, writes, isDefined } = accessTarget(mtrrs, physAddr(start));
      return `${reads === 'memory' ? 1 : 0}${writes === 'memory' ? 1 : 0} ${type}${isDefined ? '' : ' reserved'}`;
    });
    expect(found).toEqual([
      '00 UC',
      '00 WC',
      '00 WT',
      '00 WP',
      '00 WB reserved',
      '01 UC',
      '01 WC reserved',
      '01 WT reserved',
      '01 WP reserved',
      '01 WB reserved',
      '10 UC',
      '10 WC reserved',
      '10 WT reserved',
      '10 WP',
      '10 WB reserved',
      '11 UC',
      '11 WC',
      '11 WT',
      '11 WP reserved',
      '11 WB',
    ]);
  });

  // P70
  test('divides memory at TOP_MEM, 4 GiB and TOP_MEM2', () => {
    const at = (paddr: bigint) => accessTarget(mtrrs, physAddr(paddr)).reads;
    expect([0x10_0000n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn].map(at)).toEqual([
      'memory',
      'memory',
      'io',
      'io',
    ]);
    expect([0x1_0000_0000n, 0x1_ffff_ffffn, 0x2_0000_0000n].map(at)).toEqual(['memory', 'memory', 'io']);
  });

  // P69, P70
  test('is I/O for everything that SYSCFG disables', () => {
    const disabled = decodeMtrrs({ defType: 0xc00n, fixed, topMem: 0x8000_0000n }, config);
    for (const paddr of [0n, 0x3_ffffn, 0x10_0000n, 0x1_0000_0000n]) {
      expect(accessTarget(disabled, physAddr(paddr))).toEqual({
        reads: 'io',
        writes: 'io',
        isDefined: expect.any(Boolean),
      });
    }
    expect(Object.isFrozen(accessTarget(disabled, physAddr(0)))).toBe(true);
  });

  test('is not defined where the type is not', () => {
    expect(accessTarget(overlapping('WB', 'WC'), physAddr(0x4000_0000)).isDefined).toBe(false);
  });

  test('does not exist on Intel processors', () => {
    const intel = decodeMtrrs({ defType: 0x806n }, pagingConfig({ vendor: 'intel' }));
    expect(codeOf(() => accessTarget(intel, physAddr(0)))).toBe('INVALID_CPU_STATE');
  });
});
