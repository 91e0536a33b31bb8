import type { PhysAddr } from '@svsm/address';
import { ANY, Fields, optional, REGISTER } from './fields.ts';
import { hasBit, invalidState, isArray, requireRegister } from './invalid-state.ts';
import { isMtrrType, MemoryTypeCode, type MtrrType, mtrrTypeOfCode } from './memory-type.ts';
import { type PagingConfig, pagingConfig, requireConfig } from './paging-config.ts';
import { is64Bit } from './words.ts';

/** A fixed-range MTRR: eight ranges of `size` bytes from `start` on, one in each byte, the lowest first. */
export interface FixedMtrr {
  readonly name: string;
  /** The number of the MSR. */
  readonly msr: number;
  /** The physical address of the first range. */
  readonly start: number;
  /** The size of one range in bytes. */
  readonly size: number;
}

/**
 * The 11 fixed-range MTRRs, in the order that {@link MtrrRegisters.fixed} has (Intel SDM vol. 3A, table 11-9; AMD64 APM vol. 2,
 * table 7-7 and appendix A.3; P63).
 */
export const FIXED_MTRRS: readonly FixedMtrr[] = /* @__PURE__ */ listFixedMtrrs();

/** The first address that the fixed-range MTRRs do not cover: 1 MiB. */
export const FIXED_END = 0x10_0000n;
/** The first address to which TOP_MEM2 applies: 4 GiB. */
export const TOP_MEM2_START = 0x1_0000_0000n;

/** A pair of variable-range MTRRs. */
export interface VariableMtrr {
  /** IA32_MTRR_PHYSBASEn: type in bits 7:0, address from bit 12 on. */
  readonly base: bigint;
  /** IA32_MTRR_PHYSMASKn: valid in bit 11, mask from bit 12 on. */
  readonly mask: bigint;
}

/** The registers from which {@link decodeMtrrs} reads the memory types of physical memory. */
export interface MtrrRegisters {
  /** IA32_MTRRCAP (MSR 0xFE). If not given: fixed ranges, WC, and as many pairs as `variable` has. */
  readonly cap?: bigint;
  /** IA32_MTRR_DEF_TYPE (MSR 0x2FF): type in bits 7:0, FE in bit 10, E in bit 11. */
  readonly defType: bigint;
  /** The 11 fixed-range MTRRs, in the order of {@link FIXED_MTRRS}. Needed while E and FE are 1. */
  readonly fixed?: readonly bigint[];
  /** The pairs, from IA32_MTRR_PHYSBASE0 (MSR 0x200) on. None if not given. */
  readonly variable?: readonly VariableMtrr[];
  /** SYSCFG (MSR C001_0010), AMD alone: MtrrFixDramEn 18, MtrrVarDramEn 20, MtrrTom2En 21, Tom2ForceMemTypeWB 22. 0 if not given. */
  readonly syscfg?: bigint;
  /** TOP_MEM (MSR C001_001A), AMD alone. Needed while MtrrVarDramEn is 1. */
  readonly topMem?: bigint;
  /** TOP_MEM2 (MSR C001_001D), AMD alone. Needed while MtrrTom2En is 1. */
  readonly topMem2?: bigint;
}

/** One of the 88 fixed ranges. */
export interface FixedRange {
  /** The physical address of its first byte. */
  readonly start: number;
  /** Its size in bytes. */
  readonly size: number;
  readonly type: MtrrType;
  /** RdMem, AMD alone: reads go to memory rather than to I/O. */
  readonly readsMemory: boolean;
  /** WrMem, AMD alone: writes go to memory rather than to I/O. */
  readonly writesMemory: boolean;
}

/** A variable range that is valid: all addresses that equal `base` in the bits of `mask`. */
export interface VariableRange {
  readonly base: PhysAddr;
  readonly mask: bigint;
  readonly type: MtrrType;
}

/** The memory types of physical memory. Frozen; made by {@link decodeMtrrs}. */
export interface Mtrrs {
  /** The exclusive end of physical addresses. */
  readonly end: bigint;
  readonly vendor: PagingConfig['vendor'];
  /** E. While it is `false`, all memory is UC. */
  readonly enabled: boolean;
  /** The type of memory that no range covers. */
  readonly defaultType: MtrrType;
  /** FE, with the fixed ranges supported: they decide below 1 MiB. */
  readonly fixedEnabled: boolean;
  /** The 88 fixed ranges in order of address; empty if the registers were not given. */
  readonly fixed: readonly FixedRange[];
  /** The valid variable ranges. */
  readonly variable: readonly VariableRange[];
  /** MtrrFixDramEn, AMD alone: RdMem and WrMem of the fixed ranges are in effect. */
  readonly fixedTargets: boolean;
  /** TOP_MEM, a multiple of 8 MiB; `undefined` while it is disabled. */
  readonly topMem: bigint | undefined;
  /** TOP_MEM2, a multiple of 8 MiB; `undefined` while it is disabled. */
  readonly topMem2: bigint | undefined;
  /** Tom2ForceMemTypeWB with TOP_MEM2 enabled: memory from 4 GiB to TOP_MEM2 is WB by default. */
  readonly forcesWriteBack: boolean;
}

/**
 * Decodes the MTRRs. A processor raises #GP(0) for a WRMSR of a value that is refused here: reserved bits, and encodings
 * other than 0, 1, 4, 5 and 6 (Intel SDM vol. 3A, §11.11.2; AMD64 APM vol. 2, §7.7.1, §7.7.2; P63, P65). A pair that is not
 * valid is ignored; after a reset its other bits are undefined. O(1).
 *
 * On AMD, bits 4:3 of a fixed range are RdMem and WrMem (APM vol. 2, §7.9.1; P69). RDMSR returns them as 0 while
 * MtrrFixDramModEn is 0: pass values that were read while it was 1. Bits of a pair from the physical width on to bit 51 are
 * refused for Intel, and ignored for AMD ([U]; P65).
 *
 * @param config - the physical width, without the bits that memory encryption takes (APM vol. 2, §7.10.5), and the vendor
 * @throws PageTableError `INVALID_CONFIG`; `INVALID_CPU_STATE`
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { decodeMtrrs, mtrrType, pagingConfig } from '@svsm/pagetable';
 *
 * // WB by default, and UC from 3.5 GiB to 4 GiB. E is set, FE is clear.
 * const mtrrs = decodeMtrrs(
 *   { defType: 0x806n, variable: [{ base: 0xe000_0000n, mask: 0xff_e000_0800n }] },
 *   pagingConfig({ physicalBits: 40, vendor: 'intel' }),
 * );
 * console.log(mtrrType(mtrrs, physAddr(0x1000_0000)), mtrrType(mtrrs, physAddr(0xfee0_0000))); // => WB UC
 * ```
 */
export function decodeMtrrs(registers: MtrrRegisters, config: PagingConfig = pagingConfig()): Mtrrs {
  requireConfig(config);
  REGISTERS.require(registers);
  const { vendor } = config;
  const end = physicalEnd(config);
  const { fixed, variable = [] } = registers;
  if (!isArray(variable) || variable.length > 255) {
    throw invalidState('variable', variable, 'pass an array of at most 255 pairs');
  }
  const cap = requireRegister('cap', registers.cap ?? BigInt(0x500 + variable.length));
  if (variable.length > Number(cap & 0xffn)) {
    throw invalidState('variable', variable.length, `the processor has ${cap & 0xffn} pairs`);
  }
  const hasWc = hasBit(cap, 10);
  const defType = requireRegister('defType', registers.defType);
  if ((defType & ~0xcffn) !== 0n)
    throw invalidState('defType', defType, 'all bits but 11, 10 and 7:0 must be 0');
  const enabled = hasBit(defType, 11);
  const fixedEnabled = enabled && hasBit(defType, 10) && hasBit(cap, 8);
  const system = decodeSystem(registers, vendor);
  if (fixed === undefined && (fixedEnabled || system.fixedTargets)) {
    throw invalidState('fixed', fixed, 'pass the 11 fixed-range registers, which are enabled');
  }
  const mtrrs: Mtrrs = Object.freeze({
    end,
    vendor,
    enabled,
    defaultType: typeOf('defType', defType & 0xffn, hasWc),
    fixedEnabled,
    fixed: fixed === undefined ? NO_RANGES : decodeFixed(fixed, hasWc, vendor),
    variable: Object.freeze(variable.flatMap((pair, i) => decodePair(pair, i, { end, vendor, hasWc }))),
    ...system,
  });
  MADE.add(mtrrs);
  return mtrrs;
}

/** The results of {@link decodeMtrrs}: their fields agree with each other. */
const MADE: WeakSet<object> = /* @__PURE__ */ new WeakSet();

/** @throws PageTableError `INVALID_CPU_STATE` unless {@link decodeMtrrs} has made `mtrrs` */
export function requireMtrrs(mtrrs: Mtrrs): void {
  if (!MADE.has(mtrrs)) throw invalidState('mtrrs', mtrrs, 'pass what decodeMtrrs returns');
}

/**
 * A pair of variable-range MTRRs that covers `size` bytes from `start` on, with its valid bit set (Intel SDM vol. 3A, §11.11.3,
 * §11.11.4; AMD64 APM vol. 2, §7.7.2; P63). O(1).
 *
 * @param start - a physical address, a multiple of `size`
 * @param size - in bytes: a power of two, 4096 or more
 * @throws PageTableError `INVALID_CONFIG`; `INVALID_CPU_STATE` if one pair cannot describe the range
 */
export function encodeVariableMtrr(
  start: PhysAddr,
  size: number | bigint,
  type: MtrrType,
  config: PagingConfig = pagingConfig(),
): VariableMtrr {
  requireConfig(config);
  const end = physicalEnd(config);
  const bytes = typeof size === 'bigint' ? size : Number.isSafeInteger(size) ? BigInt(size) : 0n;
  if (bytes < 4096n || bytes > end || (bytes & (bytes - 1n)) !== 0n) {
    throw invalidState('size', size, 'pass a power of two, 4096 or more, within the physical width');
  }
  if (!is64Bit(start) || start >= end || (start & (bytes - 1n)) !== 0n) {
    throw invalidState('start', start, 'pass a physical address that is a multiple of the size');
  }
  if (!isMtrrType(type)) throw invalidState('type', type, 'pass UC, WC, WT, WP or WB');
  return Object.freeze({ base: start | BigInt(MemoryTypeCode[type]), mask: (end - bytes) | 0x800n });
}

const NO_RANGES: readonly FixedRange[] = /* @__PURE__ */ Object.freeze([]);

function listFixedMtrrs(): readonly FixedMtrr[] {
  const list: FixedMtrr[] = [
    { name: 'IA32_MTRR_FIX64K_00000', msr: 0x250, start: 0, size: 0x1_0000 },
    { name: 'IA32_MTRR_FIX16K_80000', msr: 0x258, start: 0x8_0000, size: 0x4000 },
    { name: 'IA32_MTRR_FIX16K_A0000', msr: 0x259, start: 0xa_0000, size: 0x4000 },
  ];
  for (let i = 0; i < 8; i += 1) {
    const start = 0xc_0000 + 0x8000 * i;
    const name = `IA32_MTRR_FIX4K_${start.toString(16).toUpperCase()}`;
    list.push({ name, msr: 0x268 + i, start, size: 0x1000 });
  }
  return Object.freeze(list.map((register) => Object.freeze(register)));
}

function decodeFixed(
  registers: readonly bigint[],
  hasWc: boolean,
  vendor: PagingConfig['vendor'],
): readonly FixedRange[] {
  if (!isArray(registers) || registers.length !== FIXED_MTRRS.length) {
    throw invalidState('fixed', registers, `pass an array of ${FIXED_MTRRS.length} registers`);
  }
  const ranges = FIXED_MTRRS.flatMap(({ name, start, size }, i) => {
    const register = requireRegister(name, registers[i]);
    return Array.from({ length: 8 }, (_, k) => {
      const field = (register >> BigInt(8 * k)) & 0xffn;
      return Object.freeze({
        start: start + k * size,
        size,
        type: typeOf(name, vendor === 'amd' ? field & ~0x18n : field, hasWc, register),
        // On Intel, a type with one of these bits is refused.
        readsMemory: hasBit(field, 4),
        writesMemory: hasBit(field, 3),
      });
    });
  });
  return Object.freeze(ranges);
}

function decodePair(
  pair: VariableMtrr,
  i: number,
  { end, vendor, hasWc }: { end: bigint; vendor: PagingConfig['vendor']; hasWc: boolean },
): VariableRange[] {
  PAIR.require(pair);
  const mask = requireRegister(`variable[${i}].mask`, pair.mask);
  const base = requireRegister(`variable[${i}].base`, pair.base);
  if (!hasBit(mask, 11)) return [];
  const widest = vendor === 'amd' ? 1n << 52n : end;
  const address = (widest - 1n) & ~0xfffn;
  if ((mask & ~(address | 0x800n)) !== 0n)
    throw invalidState(`variable[${i}].mask`, mask, 'reserved bits must be 0');
  if ((base & ~(address | 0xffn)) !== 0n)
    throw invalidState(`variable[${i}].base`, base, 'reserved bits must be 0');
  const range: VariableRange = {
    base: (base & address & (end - 1n)) as PhysAddr,
    mask: mask & address & (end - 1n),
    type: typeOf(`variable[${i}].base`, base & 0xffn, hasWc, base),
  };
  return [Object.freeze(range)];
}

/** The C-bit is masked for the lookup of memory types (AMD64 APM vol. 2, §7.10.5; P71). The bit of vTOM is an address bit. */
function physicalEnd({ physicalBits, encryption }: PagingConfig): bigint {
  return 1n << BigInt(encryption?.mode === 'c-bit' ? Math.min(physicalBits, encryption.bit) : physicalBits);
}

type SystemPart = Pick<Mtrrs, 'fixedTargets' | 'topMem' | 'topMem2' | 'forcesWriteBack'>;

/** SYSCFG and the top-of-memory registers: AMD64 APM vol. 2, §3.2.1, §7.9.4; P69, P70. */
function decodeSystem(registers: MtrrRegisters, vendor: PagingConfig['vendor']): SystemPart {
  for (const field of ['syscfg', 'topMem', 'topMem2'] as const) {
    const value = registers[field];
    if (value === undefined) continue;
    requireRegister(field, value);
    if (vendor !== 'amd') throw invalidState(field, value, 'the register exists on AMD processors alone');
  }
  const syscfg = registers.syscfg ?? 0n;
  const topMem2 = hasBit(syscfg, 21) ? topOf('topMem2', registers.topMem2) : undefined;
  return {
    fixedTargets: hasBit(syscfg, 18),
    topMem: hasBit(syscfg, 20) ? topOf('topMem', registers.topMem) : undefined,
    topMem2,
    forcesWriteBack: topMem2 !== undefined && hasBit(syscfg, 22),
  };
}

/** Bits 51:23 of a top-of-memory register. The processor ignores the others. */
function topOf(field: string, register: bigint | undefined): bigint {
  if (register === undefined) throw invalidState(field, register, 'pass the register, which SYSCFG enables');
  return register & 0xf_ffff_ff80_0000n;
}

function typeOf(field: string, code: bigint, hasWc: boolean, register = code): MtrrType {
  const type = mtrrTypeOfCode(Number(code));
  if (type === undefined) throw invalidState(field, register, 'each type must be 0, 1, 4, 5 or 6');
  if (type === 'WC' && !hasWc) throw invalidState(field, register, 'the processor does not support WC');
  return type;
}

const REGISTERS: Fields = /* @__PURE__ */ new Fields(
  'registers',
  {
    cap: /* @__PURE__ */ optional(REGISTER),
    defType: ANY,
    fixed: ANY,
    variable: ANY,
    syscfg: ANY,
    topMem: ANY,
    topMem2: ANY,
  },
  invalidState,
);
const PAIR: Fields = /* @__PURE__ */ new Fields('variable', { base: ANY, mask: ANY }, invalidState, true);
