import { PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { type CacheControlOptions, cacheControl } from '../../src/entry/cache-control.ts';
import { memoryTypesOf, nestedMemoryTypesOf, tableMemoryTypesOf } from '../../src/entry/effective-type.ts';
import { leafFlags, tableFlags } from '../../src/entry/entry-bits.ts';
import type { MemoryType, MtrrType } from '../../src/entry/memory-type.ts';
import { decodeMtrrs, encodeVariableMtrr } from '../../src/entry/mtrr.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { type PagingOptions, pagingConfig } from '../../src/entry/paging-config.ts';
import { encodePat } from '../../src/entry/pat.ts';
import { openKernelTables } from '../support/kernel-tables.ts';

const PAT = ['UC', 'UC-', 'WC', 'WP', 'WT', 'WB'] as const;
const MTRR = ['UC', 'WC', 'WT', 'WP', 'WB'] as const;
/** The types of PAT, then WB: the index of a type is its place. */
const pat = encodePat([...PAT, 'WB', 'WB']);

function codeOf(operation: () => unknown): string | undefined {
  try {
    operation();
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
  return undefined;
}

/** MTRRs in which GiB i has type i of the list; all else has the last. */
function mtrrsOf(options: PagingOptions = {}) {
  const config = pagingConfig({ physicalBits: 40, ...options });
  const variable = MTRR.map((type, i) => encodeVariableMtrr(physAddr(i * 2 ** 30), 2 ** 30, type, config));
  return decodeMtrrs({ defType: 0x806n, variable }, config);
}

function control(options: Partial<CacheControlOptions> & PagingOptions = {}) {
  const { mtrrs, cr0, cacheDisable, mixedPages, pat: own = pat, ...paging } = options;
  return cacheControl({
    mtrrs: mtrrs ?? mtrrsOf(paging),
    pat: own,
    ...(cr0 === undefined ? {} : { cr0 }),
    ...(cacheDisable === undefined ? {} : { cacheDisable }),
    ...(mixedPages === undefined ? {} : { mixedPages }),
  });
}

const paddrOf = (type: MtrrType) => physAddr(MTRR.indexOf(type) * 2 ** 30);

/** Flags of a 4 KiB page that select a type of PAT. */
function flagsOf(type: MemoryType, level: 0 | 1 | 2 = 0): number {
  const i = PAT.indexOf(type);
  return leafFlags(level, { pat: i >= 4, cacheDisable: (i & 2) !== 0, writeThrough: (i & 1) !== 0 });
}

function page(type: MemoryType, paddr: PhysAddr) {
  return { flags: flagsOf(type), size: PageSize.Regular, paddr };
}

describe('memoryTypesOf', () => {
  // P60, P61
  test('follows both types on each vendor', () => {
    const effective = (vendor: 'amd' | 'intel') =>
      PAT.map((type) =>
        MTRR.map((mtrr) => {
          const types = memoryTypesOf(page(type, paddrOf(mtrr)), control({ vendor }));
          expect(types).toMatchObject({ pat: type, mtrr });
          return types.effective;
        }).join(' '),
      );
    expect(effective('intel')).toEqual([
      'UC UC UC UC UC',
      'UC WC UC WC UC',
      'WC WC WC WC WC',
      'UC UC WP WP WP',
      'UC UC WT WT WT',
      'UC WC WT WP WB',
    ]);
    expect(effective('amd')).toEqual([
      'UC CD CD CD CD',
      'UC WC CD CD CD',
      'WC WC WC WC WC',
      'UC CD CD WP WP',
      'UC CD WT CD WT',
      'UC WC WT WP WB',
    ]);
  });

  test.each([
    [PageSize.Regular, 0],
    [PageSize.Huge, 1],
    [PageSize.Giant, 2],
  ] as const)('reads PAT of a page of %i bytes where it has it', (size, level) => {
    for (const type of PAT) {
      const types = memoryTypesOf({ flags: flagsOf(type, level), size, paddr: paddrOf('WB') }, control());
      expect(types.pat).toBe(type);
      expect(Object.isFrozen(types)).toBe(true);
    }
  });

  // P68
  test('follows the MTRRs alone without paging', () => {
    for (const mtrr of MTRR) {
      const types = memoryTypesOf(page('UC', paddrOf(mtrr)), control({ cr0: 0x11n }));
      expect(types).toEqual({ pat: undefined, mtrr, effective: mtrr });
    }
  });

  // P67
  test('ignores PWT and PCD with CR0.CD on AMD, and makes cacheable types CD', () => {
    // PA0 is UC here: PWT and PCD count as 0, and PAT selects PA0 or PA4.
    const disabled = control({
      cr0: 0xc000_0000n,
      pat: encodePat(['WB', 'UC', 'UC', 'UC', 'WC', 'UC', 'UC', 'UC']),
    });
    const at = (type: MtrrType, bits: Parameters<typeof leafFlags>[1]) =>
      memoryTypesOf({ flags: leafFlags(0, bits), size: PageSize.Regular, paddr: paddrOf(type) }, disabled);
    expect(MTRR.map((type) => at(type, { cacheDisable: true, writeThrough: true }).effective)).toEqual([
      'UC',
      'WC',
      'CD',
      'CD',
      'CD',
    ]);
    expect(at('WB', { cacheDisable: true, pat: true })).toEqual({ pat: 'WC', mtrr: 'WB', effective: 'WC' });
    const unpaged = control({ cr0: 0x4000_0000n });
    expect(memoryTypesOf(page('WB', paddrOf('WT')), unpaged).effective).toBe('CD');
  });

  // P67
  test('has another effect of CR0.CD on request', () => {
    const cr0 = 0xc000_0000n;
    const wb = page('WT', paddrOf('WB'));
    expect(memoryTypesOf(wb, control({ cr0, cacheDisable: 'typed' })).effective).toBe('WT');
    expect(memoryTypesOf(wb, control({ cr0, cacheDisable: 'uc' })).effective).toBe('UC');
    expect(memoryTypesOf(wb, control({ cr0, vendor: 'intel' })).effective).toBe('WT');
    expect(memoryTypesOf(wb, control({ cr0, vendor: 'intel', cacheDisable: 'uc' })).effective).toBe('UC');
  });

  describe('of a large page that MTRRs divide', () => {
    const config = pagingConfig({ physicalBits: 40 });
    const device = encodeVariableMtrr(physAddr(0x4010_0000), 0x1000, 'UC', config);
    const mtrrs = decodeMtrrs({ defType: 0x806n, variable: [device] }, config);
    const types = (type: MemoryType, paddr: number, mixedPages?: CacheControlOptions['mixedPages']) =>
      memoryTypesOf(
        { flags: flagsOf(type, 1), size: PageSize.Huge, paddr: physAddr(paddr) },
        cacheControl({ mtrrs, pat, ...(mixedPages && { mixedPages }) }),
      );

    // P66
    test('is not specified where it depends on the part', () => {
      expect(types('WB', 0x4000_0000)).toEqual({ pat: 'WB', mtrr: 'mixed', effective: 'unspecified' });
      expect(types('UC', 0x4000_0000).effective).toBe('unspecified');
      expect(types('WC', 0x4000_0000)).toEqual({ pat: 'WC', mtrr: 'mixed', effective: 'WC' });
      expect(types('WB', 0x4020_0000)).toEqual({ pat: 'WB', mtrr: 'WB', effective: 'WB' });
    });

    // P66
    test('is that of the part, of a processor that splits the page', () => {
      expect(types('WB', 0x4010_0ff8, 'split')).toEqual({ pat: 'WB', mtrr: 'mixed', effective: 'UC' });
      expect(types('WB', 0x4010_1000, 'split').effective).toBe('WB');
    });

    // P66
    test('is the most restrictive one, of a conservative processor', () => {
      expect(types('WB', 0x4010_1000, 'conservative').effective).toBe('UC');
      expect(types('WT', 0x4010_1000, 'conservative').effective).toBe('UC');
    });
  });

  // P64
  test('is not specified under a conflict of MTRRs, unless PAT decides', () => {
    const config = pagingConfig({ physicalBits: 40, vendor: 'intel' });
    const variable = (['WP', 'WB'] as const).map((type) =>
      encodeVariableMtrr(physAddr(0), 0x1000, type, config),
    );
    const mtrrs = decodeMtrrs({ defType: 0x800n, variable }, config);
    const types = (type: MemoryType, mixedPages: 'unspecified' | 'split' | 'conservative' = 'unspecified') =>
      memoryTypesOf(page(type, physAddr(0)), cacheControl({ mtrrs, pat, mixedPages }));
    expect(types('WB')).toEqual({ pat: 'WB', mtrr: 'conflict', effective: 'unspecified' });
    expect(types('WB', 'split').effective).toBe('unspecified');
    expect(types('WB', 'conservative').effective).toBe('unspecified');
    expect([types('WC').effective, types('UC').effective]).toEqual(['WC', 'UC']);
    // A large page with a conflict in a part.
    const large = (mixedPages: 'split' | 'conservative') =>
      memoryTypesOf(
        { flags: flagsOf('WB', 1), size: PageSize.Huge, paddr: physAddr(0x1000) },
        cacheControl({ mtrrs, pat, mixedPages }),
      ).effective;
    expect([large('split'), large('conservative')]).toEqual(['UC', 'unspecified']);
  });

  test('refuses flags, sizes and addresses that do not exist', () => {
    const good = page('WB', physAddr(0));
    const calls: [unknown, string][] = [
      [{ ...good, flags: 0.5 }, 'INVALID_ENTRY'],
      [{ ...good, flags: undefined }, 'INVALID_ENTRY'],
      [{ ...good, size: 8192 }, 'INVALID_PAGE_SIZE'],
      [{ ...good, size: undefined }, 'INVALID_PAGE_SIZE'],
      [{ ...good, paddr: 1n << 40n }, 'OUTSIDE_PHYSICAL_RANGE'],
      [{ ...good, paddr: 0 }, 'OUTSIDE_PHYSICAL_RANGE'],
    ];
    for (const [given, code] of calls)
      expect(codeOf(() => memoryTypesOf(given as never, control()))).toBe(code);
  });
});

describe('tableMemoryTypesOf', () => {
  // P60
  test('follows PWT and PCD of the entry that leads to the table', () => {
    const bits = [
      {},
      { writeThrough: true },
      { cacheDisable: true },
      { writeThrough: true, cacheDisable: true },
    ];
    const found = bits.map((named) => tableMemoryTypesOf(tableFlags(named), paddrOf('WB'), control()));
    expect(found.map(({ pat: type }) => type)).toEqual(PAT.slice(0, 4));
    expect(found.map(({ effective }) => effective)).toEqual(['CD', 'CD', 'WC', 'WP']);
  });

  test('refuses flags and tables that do not exist, and a processor without paging', () => {
    expect(codeOf(() => tableMemoryTypesOf(0.5, physAddr(0), control()))).toBe('INVALID_ENTRY');
    expect(codeOf(() => tableMemoryTypesOf(0, -1n as never, control()))).toBe('OUTSIDE_PHYSICAL_RANGE');
    expect(codeOf(() => tableMemoryTypesOf(0, physAddr(0), control({ cr0: 0n })))).toBe('INVALID_CPU_STATE');
  });
});

describe('nestedMemoryTypesOf', () => {
  const guest = (type: MemoryType) => ({ flags: flagsOf(type), size: PageSize.Regular });

  // P72
  test('combines the guest, the host and the MTRRs', () => {
    const types = (g: MemoryType, h: MemoryType, m: MtrrType) =>
      nestedMemoryTypesOf(guest(g), page(h, paddrOf(m)), { pat }, control());
    expect(types('WC', 'WB', 'WB')).toEqual({
      guest: 'WC',
      host: 'WB',
      combined: 'WC+',
      mtrr: 'WB',
      effective: 'WC+',
    });
    expect(types('WC', 'WB', 'UC')).toMatchObject({ combined: 'WC+', effective: 'WC' });
    expect(types('WB', 'WT', 'WB')).toMatchObject({ combined: 'WT', effective: 'WT' });
    expect(types('UC-', 'UC-', 'WC')).toMatchObject({ combined: 'UC-', effective: 'WC' });
    expect(types('UC-', 'WB', 'WC')).toMatchObject({ combined: 'UC', effective: 'CD' });
    expect(Object.isFrozen(types('WB', 'WB', 'WB'))).toBe(true);
  });

  // P12, P72
  test('forces coherent types on an SNP guest', () => {
    for (const g of PAT) {
      for (const h of PAT) {
        for (const m of MTRR) {
          const plain = nestedMemoryTypesOf(guest(g), page(h, paddrOf(m)), { pat }, control());
          const forced = nestedMemoryTypesOf(guest(g), page(h, paddrOf(m)), { pat, snp: true }, control());
          const expected = { UC: 'CD', WC: 'WC+' }[plain.effective as string] ?? plain.effective;
          expect(forced).toEqual({ ...plain, effective: expected });
        }
      }
    }
  });

  test('uses the default PAT of a new VMSA', () => {
    const types = nestedMemoryTypesOf(
      { flags: leafFlags(1, { writeThrough: true }), size: PageSize.Huge },
      page('WB', paddrOf('WB')),
      {},
      control(),
    );
    expect(types.guest).toBe('WT');
  });

  // P72
  test('looks up the MTRRs for the smaller of the two pages', () => {
    const config = pagingConfig({ physicalBits: 40 });
    const variable = [encodeVariableMtrr(physAddr(0x1000), 0x1000, 'UC', config)];
    const host = cacheControl({ mtrrs: decodeMtrrs({ defType: 0x806n, variable }, config) });
    const at = (size: PageSize, nestedSize: PageSize) =>
      nestedMemoryTypesOf(
        { flags: 1, size },
        { flags: 1, size: nestedSize, paddr: physAddr(0x3000) },
        {},
        host,
      ).mtrr;
    expect(at(PageSize.Huge, PageSize.Huge)).toBe('mixed');
    expect(at(PageSize.Regular, PageSize.Giant)).toBe('WB');
    expect(at(PageSize.Giant, PageSize.Regular)).toBe('WB');
    // Without paging in the guest, the nested page is the page.
    const unpaged = nestedMemoryTypesOf(
      { flags: 1, size: PageSize.Regular },
      { flags: 1, size: PageSize.Huge, paddr: physAddr(0x3000) },
      { cr0: 0x11n },
      host,
    );
    expect(unpaged).toEqual({
      guest: undefined,
      host: 'WB',
      combined: 'WB',
      mtrr: 'mixed',
      effective: 'unspecified',
    });
  });

  // P72
  test('disables caching by CR0.CD of the guest or of the host', () => {
    const cd = 0xc000_0000n;
    const types = (guestCr0: bigint, hostCr0: bigint) =>
      nestedMemoryTypesOf(
        guest('WB'),
        page('WB', paddrOf('WB')),
        { cr0: guestCr0 },
        control({ cr0: hostCr0, pat: 0x06n }),
      ).effective;
    expect(types(0x8000_0000n, 0x8000_0000n)).toBe('CD');
    const at = (guestCr0: bigint, hostCr0: bigint) =>
      nestedMemoryTypesOf(
        { flags: 1, size: PageSize.Regular },
        { flags: 1, size: PageSize.Regular, paddr: paddrOf('WB') },
        { cr0: guestCr0 },
        cacheControl({ mtrrs: mtrrsOf(), cr0: hostCr0 }),
      ).effective;
    expect([at(0x8000_0000n, 0x8000_0000n), at(cd, 0x8000_0000n), at(0x8000_0000n, cd)]).toEqual([
      'WB',
      'CD',
      'CD',
    ]);
  });

  // P67, P72
  test('ignores PWT and PCD of a side while its CR0.CD is 1, only if that makes types CD', () => {
    const own = encodePat(['WB', 'UC', 'UC', 'UC', 'WB', 'UC', 'UC', 'UC']);
    const flags = leafFlags(0, { cacheDisable: true, writeThrough: true });
    const one = { flags, size: PageSize.Regular, paddr: paddrOf('WB') };
    for (const cacheDisable of ['cd', 'typed'] as const)
      for (const guestCd of [false, true])
        for (const hostCd of [false, true]) {
          const cr0 = (isDisabled: boolean): bigint => (isDisabled ? 0xc000_0000n : 0x8000_0000n);
          const host = control({ pat: own, cacheDisable, cr0: cr0(hostCd) });
          const found = nestedMemoryTypesOf(one, one, { pat: own, cr0: cr0(guestCd) }, host);
          const ignores = cacheDisable === 'cd';
          const sides = [guestCd && ignores ? 'WB' : 'UC', hostCd && ignores ? 'WB' : 'UC'];
          expect([found.guest, found.host]).toEqual(sides);
        }
  });

  test('refuses Intel processors, a host without paging, and bad input', () => {
    const nested = page('WB', physAddr(0));
    const intel = control({ vendor: 'intel' });
    const calls: [() => unknown, string][] = [
      [() => nestedMemoryTypesOf(guest('WB'), nested, {}, intel), 'INVALID_CPU_STATE'],
      [() => nestedMemoryTypesOf(guest('WB'), nested, {}, control({ cr0: 0n })), 'INVALID_CPU_STATE'],
      [() => nestedMemoryTypesOf(guest('WB'), nested, { pat: 3n }, control()), 'INVALID_CPU_STATE'],
      [() => nestedMemoryTypesOf(guest('WB'), nested, { cr0: 1 as never }, control()), 'INVALID_CPU_STATE'],
      [() => nestedMemoryTypesOf(guest('WB'), nested, { snp: 1 as never }, control()), 'INVALID_CPU_STATE'],
      [() => nestedMemoryTypesOf({ ...guest('WB'), flags: -1.5 }, nested, {}, control()), 'INVALID_ENTRY'],
      [
        () => nestedMemoryTypesOf({ ...guest('WB'), size: 3 as never }, nested, {}, control()),
        'INVALID_PAGE_SIZE',
      ],
      [
        () => nestedMemoryTypesOf(guest('WB'), { ...nested, paddr: (1n << 50n) as never }, {}, control()),
        'OUTSIDE_PHYSICAL_RANGE',
      ],
    ];
    for (const [call, code] of calls) expect(codeOf(call)).toBe(code);
  });
});

describe('the pages of a booted Linux', () => {
  /** The MTRRs that SeaBIOS programs for a PC with less than 2 GiB (`src/fw/mtrr.c`), at a width of 40 bits. */
  const WB = 0x0606_0606_0606_0606n;
  const WP = 0x0505_0505_0505_0505n;
  const fixed = [WB, WB, 0n, ...Array.from({ length: 8 }, () => WP)];
  const variable = [{ base: 0x8000_0000n, mask: 0xff_8000_0800n }];

  test.each(['case-a', 'case-f'])('%s: devices are UC, memory is WB, and no page is divided', (name) => {
    const { table } = openKernelTables(name);
    for (const vendor of ['intel', 'amd'] as const) {
      const mtrrs = decodeMtrrs(
        { defType: 0xc06n, fixed, variable },
        pagingConfig({ physicalBits: 40, vendor }),
      );
      const linux = cacheControl({ mtrrs, pat: 0x0407_0506_0007_0106n, cr0: 0x8005_0033n });
      const counts = new Map<string, number>();
      for (const { frame, size, flags } of table.leaves()) {
        const { pat: type, mtrr, effective } = memoryTypesOf({ flags, size, paddr: frame }, linux);
        const area =
          frame >= 0x8000_0000n
            ? `device ${frame.toString(16)}`
            : frame < 0x10_0000n
              ? 'first MiB'
              : 'memory';
        const key = `${area}: ${type} ${mtrr} ${effective}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
      const devices = [...counts].filter(([key]) => key.startsWith('device'));
      expect(devices.sort()).toEqual([
        ['device fec00000: UC UC UC', 1],
        ['device fed00000: UC- UC UC', 2],
        ['device fee00000: UC UC UC', 1],
      ]);
      const others = [...counts.keys()].filter((key) => !key.startsWith('device'));
      expect(others.sort()).toEqual(
        ['first MiB: WB UC UC', 'first MiB: WB WB WB', 'first MiB: WB WP WP', 'memory: WB WB WB'].sort(),
      );
    }
  });

  test('case-a: the tables are read as WB', () => {
    const { table } = openKernelTables('case-a');
    const mtrrs = decodeMtrrs({ defType: 0xc06n, fixed, variable }, pagingConfig({ physicalBits: 40 }));
    const linux = cacheControl({ mtrrs, pat: 0x0407_0506_0007_0106n });
    const [page0] = table.leaves();
    const { path, page: found } = table.walk(page0!.vaddr);
    const tables = path
      .slice(0, -1)
      .map(({ entry }) => tableMemoryTypesOf(entry.flags, entry.address, linux));
    expect(new Set(tables.map(({ effective }) => effective))).toEqual(new Set(['WB']));
    expect(memoryTypesOf(found!, linux).effective).toBe('WB');
  });
});
