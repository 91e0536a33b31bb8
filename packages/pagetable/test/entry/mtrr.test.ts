import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { decodeMtrrs, encodeVariableMtrr, FIXED_MTRRS, type MtrrRegisters } from '../../src/entry/mtrr.ts';
import { mtrrType } from '../../src/entry/mtrr-type.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';

const intel = pagingConfig({ vendor: 'intel', physicalBits: 36 });
const amd = pagingConfig({ physicalBits: 48, cBit: 47 });
const ZEROS = Array.from({ length: 11 }, () => 0n);

function codeOf(operation: () => unknown): string | undefined {
  try {
    operation();
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
  return undefined;
}

function refuses(registers: Partial<MtrrRegisters>, config = intel): string | undefined {
  return codeOf(() => decodeMtrrs({ defType: 0x800n, ...registers }, config));
}

describe('FIXED_MTRRS', () => {
  // P63
  test('are the 11 registers of table 11-9 of the SDM and of appendix A.3 of the APM', () => {
    expect(FIXED_MTRRS.map(({ name, msr }) => `${name.slice(10)} ${msr.toString(16)}`)).toEqual([
      'FIX64K_00000 250',
      'FIX16K_80000 258',
      'FIX16K_A0000 259',
      'FIX4K_C0000 268',
      'FIX4K_C8000 269',
      'FIX4K_D0000 26a',
      'FIX4K_D8000 26b',
      'FIX4K_E0000 26c',
      'FIX4K_E8000 26d',
      'FIX4K_F0000 26e',
      'FIX4K_F8000 26f',
    ]);
    for (const { name, start } of FIXED_MTRRS)
      expect(name.endsWith(start.toString(16).toUpperCase())).toBe(true);
  });

  test('cover the first MiB without gaps', () => {
    let next = 0;
    for (const { start, size } of FIXED_MTRRS) {
      expect(start).toBe(next);
      next += 8 * size;
    }
    expect(next).toBe(0x10_0000);
  });
});

describe('decodeMtrrs', () => {
  test('decodes the default type and the enable bits', () => {
    const off = decodeMtrrs({ defType: 6n }, intel);
    expect([off.enabled, off.fixedEnabled, off.defaultType, off.end]).toEqual([
      false,
      false,
      'WB',
      1n << 36n,
    ]);
    const on = decodeMtrrs({ defType: 0xc06n, fixed: ZEROS }, intel);
    expect([on.enabled, on.fixedEnabled, on.fixed.length]).toEqual([true, true, 88]);
    // FE has no effect without E.
    expect(decodeMtrrs({ defType: 0x406n }, intel).fixedEnabled).toBe(false);
  });

  test('has no fixed ranges without their registers, and up to 255 pairs', () => {
    expect(decodeMtrrs({ defType: 6n }).fixed).toEqual([]);
    const variable = Array.from({ length: 255 }, (_, k) => ({
      base: BigInt(k) << 12n,
      mask: 0xf_ffff_f800n,
    }));
    expect(decodeMtrrs({ defType: 6n, variable }, intel).variable).toHaveLength(255);
  });

  test('takes types other than WC from a processor without it', () => {
    const variable = [{ base: 6n, mask: 0x800n }];
    expect(decodeMtrrs({ cap: 0x101n, defType: 0x804n, variable }, intel).variable[0]?.type).toBe('WB');
  });

  test('returns frozen objects', () => {
    const mtrrs = decodeMtrrs(
      { defType: 0xc06n, fixed: ZEROS, variable: [{ base: 0n, mask: 0x800n }] },
      intel,
    );
    for (const object of [mtrrs, mtrrs.fixed, mtrrs.fixed[0], mtrrs.variable, mtrrs.variable[0]]) {
      expect(Object.isFrozen(object)).toBe(true);
    }
  });

  // P63, P64
  test('decodes the example 11-2 of the SDM', () => {
    const variable = [
      [0x0000_0006n, 0xf_fc00_0800n],
      [0x0400_0006n, 0xf_fe00_0800n],
      [0x0600_0006n, 0xf_ffc0_0800n],
      [0x0400_0000n, 0xf_ffc0_0800n],
      [0x00f0_0000n, 0xf_fff0_0800n],
      [0xa000_0001n, 0xf_ff80_0800n],
    ].map(([base, mask]) => ({ base: base!, mask: mask! }));
    const mtrrs = decodeMtrrs({ defType: 0x800n, variable }, intel);
    const M = 0x10_0000;
    const at = (mib: number) => mtrrType(mtrrs, physAddr(mib * M));
    expect([0, 14, 15, 16, 63].map(at)).toEqual(['WB', 'WB', 'UC', 'WB', 'WB']);
    // The 4 MiB of the I/O card are UC by overlap; the rest of the 96 MiB is WB.
    expect([64, 67, 68, 95, 99, 100].map(at)).toEqual(['UC', 'UC', 'WB', 'WB', 'WB', 'UC']);
    expect([0xa00, 0xa07, 0xa08].map(at)).toEqual(['WC', 'WC', 'UC']);
  });

  // P63
  test('uses the fixed ranges only if the processor has them and they are enabled', () => {
    const fixed = FIXED_MTRRS.map(() => 0x0606_0606_0606_0606n);
    const low = physAddr(0x1000);
    const typeWith = (registers: MtrrRegisters) => mtrrType(decodeMtrrs(registers, intel), low);
    expect(typeWith({ defType: 0xc00n, fixed })).toBe('WB');
    expect(typeWith({ defType: 0x800n, fixed })).toBe('UC');
    expect(typeWith({ defType: 0xc00n, fixed, cap: 0x400n })).toBe('UC');
    expect(typeWith({ defType: 0x401n, fixed })).toBe('UC');
  });

  test('passes over pairs that are not valid, whatever they hold', () => {
    const mtrrs = decodeMtrrs({ defType: 0x800n, variable: [{ base: 2n ** 64n - 1n, mask: 0x7ffn }] }, intel);
    expect(mtrrs.variable).toEqual([]);
  });

  // P65
  test('refuses encodings that are reserved', () => {
    for (const type of [2n, 3n, 7n, 8n, 0xffn]) {
      expect(refuses({ defType: 0x800n | type })).toBe('INVALID_CPU_STATE');
      expect(refuses({ variable: [{ base: type, mask: 0x800n }] })).toBe('INVALID_CPU_STATE');
      for (let byte = 0n; byte < 8n; byte += 1n) {
        const fixed = [...ZEROS.slice(1), type << (8n * byte)];
        expect(refuses({ fixed })).toBe('INVALID_CPU_STATE');
      }
    }
  });

  // P65
  test('refuses reserved bits', () => {
    for (const bit of [8n, 9n, 12n, 63n]) expect(refuses({ defType: 1n << bit })).toBe('INVALID_CPU_STATE');
    for (const bit of [8n, 11n, 36n, 51n, 52n, 63n]) {
      expect(refuses({ variable: [{ base: 1n << bit, mask: 0x800n }] })).toBe('INVALID_CPU_STATE');
    }
    for (const bit of [0n, 10n, 36n, 52n, 63n]) {
      expect(refuses({ variable: [{ base: 0n, mask: 0x800n | (1n << bit) }] })).toBe('INVALID_CPU_STATE');
    }
  });

  // P65
  test('ignores address bits above the width on AMD, and refuses those above bit 51', () => {
    const pair = (bit: bigint) => ({ base: (1n << bit) | 6n, mask: 0x800n | (1n << bit) });
    const mtrrs = decodeMtrrs({ defType: 0x800n, variable: [pair(47n)] }, amd);
    expect(mtrrType(mtrrs, physAddr(0x1000))).toBe('WB');
    expect(refuses({ variable: [pair(51n)] }, amd)).toBe(undefined);
    for (const bit of [52n, 63n]) expect(refuses({ variable: [pair(bit)] }, amd)).toBe('INVALID_CPU_STATE');
  });

  // P69
  test('decodes RdMem and WrMem on AMD, and refuses them on Intel', () => {
    const fixed = [0x1e_06_0e_16_00_00_00_00n, ...ZEROS.slice(1)];
    expect(refuses({ fixed })).toBe('INVALID_CPU_STATE');
    expect(refuses({ fixed: [0x20n, ...ZEROS.slice(1)] }, amd)).toBe('INVALID_CPU_STATE');
    const { fixed: ranges } = decodeMtrrs({ defType: 0xc00n, fixed, syscfg: 0x4_0000n }, amd);
    const part = ranges
      .slice(4, 8)
      .map(({ type, readsMemory, writesMemory }) => [type, readsMemory, writesMemory]);
    expect(part).toEqual([
      ['WB', true, false],
      ['WB', false, true],
      ['WB', false, false],
      ['WB', true, true],
    ]);
  });

  // P70
  test('decodes SYSCFG and the top-of-memory registers of an EPYC of the second generation', () => {
    // SYSCFG 0x740000: MtrrFixDramEn, MtrrVarDramEn, MtrrTom2En and Tom2ForceMemTypeWB.
    const registers = { defType: 0xc00n, fixed: ZEROS, syscfg: 0x74_0000n, topMem: 0xb000_0000n };
    const mtrrs = decodeMtrrs({ ...registers, topMem2: 0x3c_507f_ffffn }, amd);
    expect([mtrrs.fixedTargets, mtrrs.forcesWriteBack]).toEqual([true, true]);
    expect([mtrrs.topMem, mtrrs.topMem2]).toEqual([0xb000_0000n, 0x3c_5000_0000n]);
    const off = decodeMtrrs({ ...registers, syscfg: 0x40_0000n, topMem2: 1n }, amd);
    expect([off.topMem, off.topMem2, off.forcesWriteBack]).toEqual([undefined, undefined, false]);
  });

  test('asks for the registers that are enabled, and refuses those that do not exist', () => {
    expect(refuses({ defType: 0xc00n })).toBe('INVALID_CPU_STATE');
    expect(refuses({ syscfg: 0x4_0000n }, amd)).toBe('INVALID_CPU_STATE');
    expect(refuses({ syscfg: 0x10_0000n }, amd)).toBe('INVALID_CPU_STATE');
    expect(refuses({ syscfg: 0x20_0000n, topMem: 0n }, amd)).toBe('INVALID_CPU_STATE');
    for (const field of ['syscfg', 'topMem', 'topMem2'])
      expect(refuses({ [field]: 0n })).toBe('INVALID_CPU_STATE');
  });

  test('holds the registers against IA32_MTRRCAP', () => {
    const pair = { base: 0n, mask: 0n };
    expect(refuses({ cap: 0x501n, variable: [pair] })).toBe(undefined);
    expect(refuses({ cap: 0x500n, variable: [pair] })).toBe('INVALID_CPU_STATE');
    expect(refuses({ cap: 0x100n, defType: 1n })).toBe('INVALID_CPU_STATE');
    expect(refuses({ cap: 0x101n, variable: [{ base: 1n, mask: 0x800n }] })).toBe('INVALID_CPU_STATE');
    expect(refuses({ cap: 0x100n, fixed: [1n, ...ZEROS.slice(1)] })).toBe('INVALID_CPU_STATE');
  });

  test('refuses values that are not registers', () => {
    for (const value of [-1n, 2n ** 64n, 6, '6', null]) {
      for (const field of ['cap', 'defType', 'syscfg', 'topMem', 'topMem2', 'fixed', 'variable']) {
        if (field === 'cap' && value === null) continue;
        expect([field, refuses({ [field]: value } as never, amd)]).toEqual([field, 'INVALID_CPU_STATE']);
      }
      expect(refuses({ fixed: [value, ...ZEROS.slice(1)] } as never)).toBe('INVALID_CPU_STATE');
      expect(refuses({ variable: [{ base: value, mask: 0x800n }] } as never)).toBe('INVALID_CPU_STATE');
      expect(refuses({ variable: [{ base: 0n, mask: value }] } as never)).toBe('INVALID_CPU_STATE');
    }
    expect(refuses({ fixed: ZEROS.slice(1) })).toBe('INVALID_CPU_STATE');
    expect(refuses({ variable: [undefined] } as never)).toBe('INVALID_CPU_STATE');
    expect(refuses({ variable: new Array(256).fill({ base: 0n, mask: 0n }) })).toBe('INVALID_CPU_STATE');
  });
});

describe('encodeVariableMtrr', () => {
  // P63
  test('makes the pairs of the examples of the SDM', () => {
    const wide = pagingConfig({ vendor: 'intel', physicalBits: 40 });
    const pair = (config: typeof wide) => encodeVariableMtrr(physAddr(0x0400_0000), 0x200_0000, 'WB', config);
    expect(pair(intel)).toEqual({ base: 0x0400_0006n, mask: 0xf_fe00_0800n });
    expect(pair(wide)).toEqual({ base: 0x0400_0006n, mask: 0xff_fe00_0800n });
    expect(encodeVariableMtrr(physAddr(0), 1n << 36n, 'WT', intel)).toEqual({ base: 4n, mask: 0x800n });
    expect(Object.isFrozen(pair(intel))).toBe(true);
  });

  test('refuses ranges that one pair cannot describe', () => {
    const bad: [unknown, unknown, unknown][] = [
      [0n, 0, 'WB'],
      [0n, 2048, 'WB'],
      [0n, 0x3000, 'WB'],
      [0n, 1n << 37n, 'WB'],
      [0n, 0.5, 'WB'],
      [0n, '4096', 'WB'],
      [0x1000n, 0x2000, 'WB'],
      [1n << 36n, 0x1000, 'WB'],
      [-0x1000n, 0x1000, 'WB'],
      [0, 0x1000, 'WB'],
      [0n, 0x1000, 'UC-'],
      [0n, PageSize.Huge, undefined],
    ];
    for (const [start, size, type] of bad) {
      const call = () => encodeVariableMtrr(start as never, size as never, type as never, intel);
      expect(codeOf(call)).toBe('INVALID_CPU_STATE');
    }
  });
});
