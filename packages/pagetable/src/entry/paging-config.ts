import { ANY, BOOLEAN, type Field, Fields, oneOf, optional } from './fields.ts';
import { PageTableError } from './page-table-error.ts';

/**
 * The bit that separates private pages from shared ones.
 *
 * - `c-bit`: an entry with the bit set is private, one with the bit clear is shared (AMD64 APM vol. 2, §15.34.5).
 * - `vtom`: an address with the bit set is at or above the virtual top of memory, so shared; below, it is private
 *   (§15.36.8). The C-bit is reserved then: pass `physicalBits` at most its position.
 */
export interface MemoryEncryption {
  /** The meaning of the bit. */
  readonly mode: 'c-bit' | 'vtom';
  /** The position of the bit in an entry: 32 to 51. CPUID Fn8000_001F EBX[5:0] reports the position of the C-bit. */
  readonly bit: number;
}

/** The properties of a processor's paging. Frozen; made by {@link pagingConfig}. */
export interface PagingConfig {
  /** The number of table levels: 4, or 5 with CR4.LA57. */
  readonly levels: 4 | 5;
  /**
   * MAXPHYADDR, 32 to 52: CPUID Fn8000_0008 EAX[7:0]. Address bits from this position on are reserved, except the
   * encryption bit.
   */
  readonly physicalBits: number;
  /** Memory encryption, or `undefined` for none. */
  readonly encryption: MemoryEncryption | undefined;
  /** EFER.NXE. If it is off, bit 63 of an entry is reserved. */
  readonly noExecute: boolean;
  /** CR4.PGE. If it is off, the global bit has no effect. */
  readonly globalPages: boolean;
  /** CPUID Fn8000_0001 EDX[26]: 1 GiB pages. If it is off, PS is reserved in a PDPT entry. */
  readonly giantPages: boolean;
  /** The maker of the processor. Bit 8 of a PML4E or PML5E is reserved on AMD; Intel ignores it. */
  readonly vendor: 'amd' | 'intel';
}

/** The fields of {@link PagingConfig}, all optional, and a short form for a C-bit. */
export interface PagingOptions extends Partial<Omit<PagingConfig, 'encryption'>> {
  /** Memory encryption. None if neither this nor `cBit` is given. */
  readonly encryption?: MemoryEncryption | undefined;
  /**
   * Short for `encryption: { mode: 'c-bit', bit }`. CPUID reports the position. It is 51 on EPYC of the second to the fourth
   * generation; that it is 47 on the first is unverified.
   */
  readonly cBit?: number;
}

/**
 * Makes a paging configuration, checked and frozen. The defaults are those of a current EPYC without encryption: 4 levels,
 * 52 physical bits, NX, global pages, 1 GiB pages, vendor AMD. O(1).
 *
 * @throws PageTableError `INVALID_CONFIG`
 * @example
 * ```ts
 * import { pagingConfig } from '@svsm/pagetable';
 *
 * const guest = pagingConfig({ cBit: 51, physicalBits: 46 });
 * console.log(guest.levels, guest.encryption?.mode); // => 4 c-bit
 * const belowVtom = pagingConfig({ encryption: { mode: 'vtom', bit: 46 }, physicalBits: 47 });
 * console.log(belowVtom.encryption?.bit); // => 46
 * ```
 */
export function pagingConfig(options: PagingOptions = {}): PagingConfig {
  OPTIONS.require(options);
  return checkedConfig(options);
}

/** Makes the configuration of options whose names have been checked. */
function checkedConfig(options: PagingOptions): PagingConfig {
  const {
    levels = 4,
    physicalBits = 52,
    noExecute = true,
    globalPages = true,
    giantPages = true,
    vendor = 'amd',
  } = options;
  if (levels !== 4 && levels !== 5) throw invalid('levels', levels, 'pass 4 or 5');
  if (!Number.isInteger(physicalBits) || physicalBits < 32 || physicalBits > 52) {
    throw invalid('physicalBits', physicalBits, 'pass an integer from 32 to 52');
  }
  if (vendor !== 'amd' && vendor !== 'intel') throw invalid('vendor', vendor, "pass 'amd' or 'intel'");
  for (const [field, value] of Object.entries({ noExecute, globalPages, giantPages })) {
    if (typeof value !== 'boolean') throw invalid(field, value, 'pass true or false');
  }
  return Object.freeze({
    levels,
    physicalBits,
    encryption: encryptionOf(options),
    noExecute,
    globalPages,
    giantPages,
    vendor,
  });
}

/** The registers that {@link pagingConfigFromRegisters} reads. */
export interface PagingRegisters {
  /** CR4, 64 bits. */
  readonly cr4: bigint;
  /** EFER, 64 bits. A dump may lack it; then the options decide `noExecute`. */
  readonly efer?: bigint;
}

/**
 * Makes the configuration that registers select: CR4.LA57, bit 12, decides `levels` and CR4.PGE, bit 7, `globalPages` (AMD64
 * APM vol. 2, §3.1.3); EFER.NXE, bit 11, decides `noExecute` (§3.1.7). `options` has the rest: widths, encryption, vendor.
 * O(1).
 *
 * @throws PageTableError `INVALID_CONFIG`
 */
export function pagingConfigFromRegisters(
  registers: PagingRegisters,
  options: PagingOptions = {},
): PagingConfig {
  REGISTERS.require(registers);
  PROCESSOR.require(options);
  const { cr4, efer } = registers;
  const bit = (field: string, register: bigint, position: number): boolean => {
    if (typeof register !== 'bigint' || BigInt.asUintN(64, register) !== register) {
      throw invalid(field, register, 'pass a bigint of 64 bits');
    }
    return ((register >> BigInt(position)) & 1n) === 1n;
  };
  return checkedConfig({
    ...options,
    levels: bit('cr4', cr4, 12) ? 5 : 4,
    globalPages: bit('cr4', cr4, 7),
    ...(efer === undefined ? {} : { noExecute: bit('efer', efer, 11) }),
  });
}

function encryptionOf({ encryption, cBit }: PagingOptions): MemoryEncryption | undefined {
  if (encryption !== undefined && cBit !== undefined) {
    throw invalid('cBit', cBit, 'pass either `encryption` or `cBit`, not both');
  }
  if (encryption === undefined && cBit === undefined) return undefined;
  if (encryption !== undefined) ENCRYPTION.require(encryption);
  const { mode, bit } = encryption ?? { mode: 'c-bit' as const, bit: cBit };
  const { accepts, expected } = integer(32, 51);
  if (!accepts(bit)) throw invalid('cBit', bit, expected);
  return Object.freeze({ mode, bit: bit as number });
}

/** Requires a configuration. Those of {@link pagingConfig} pass at once. @throws PageTableError `INVALID_CONFIG` */
export function requireConfig(config: PagingConfig): void {
  CONFIG.require(config);
  if (config.encryption !== undefined) ENCRYPTION.require(config.encryption);
}

function invalid(
  field: string,
  value: unknown,
  expected: string,
  options?: ErrorOptions,
): PageTableError<'INVALID_CONFIG'> {
  return new PageTableError('INVALID_CONFIG', { field, value, expected }, options);
}

function integer(least: number, most: number): Field {
  return {
    accepts: (value) => Number.isInteger(value) && (value as number) >= least && (value as number) <= most,
    expected: `pass an integer from ${least} to ${most}`,
  };
}

const CONFIG: Fields = /* @__PURE__ */ new Fields(
  'config',
  {
    levels: /* @__PURE__ */ oneOf(4, 5),
    physicalBits: /* @__PURE__ */ integer(32, 52),
    encryption: ANY,
    noExecute: BOOLEAN,
    globalPages: BOOLEAN,
    giantPages: BOOLEAN,
    vendor: /* @__PURE__ */ oneOf('amd', 'intel'),
  },
  invalid,
  true,
);
const ENCRYPTION: Fields = /* @__PURE__ */ new Fields(
  'encryption',
  { mode: /* @__PURE__ */ oneOf('c-bit', 'vtom'), bit: /* @__PURE__ */ integer(32, 51) },
  (field, ...rest) => invalid(field === 'encryption' ? field : `encryption.${field}`, ...rest),
  true,
);

/** The names of {@link PagingOptions}. */
const NAMES = {
  levels: ANY,
  physicalBits: ANY,
  encryption: ANY,
  cBit: ANY,
  noExecute: ANY,
  globalPages: ANY,
  giantPages: ANY,
  vendor: ANY,
};
const OPTIONS: Fields = /* @__PURE__ */ new Fields('options', NAMES, invalid);
/** The options of {@link pagingConfigFromRegisters}, which can be the `ProcessorFeatures`. */
const PROCESSOR: Fields = /* @__PURE__ */ new Fields(
  'options',
  {
    ...NAMES,
    levels: /* @__PURE__ */ oneOf(4, 5, undefined),
    globalPages: /* @__PURE__ */ optional(BOOLEAN),
    cr4Mask: ANY,
    eferMask: ANY,
    lmaWrites: ANY,
  },
  invalid,
);
/** The registers, which can be a `ControlState`. */
const REGISTERS: Fields = /* @__PURE__ */ new Fields(
  'registers',
  { cr0: ANY, cr3: ANY, cr4: ANY, efer: ANY, csL: ANY },
  invalid,
);
