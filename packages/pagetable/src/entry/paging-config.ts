import { PageTableError } from './page-table-error.ts';

/**
 * How private pages are told from shared ones.
 *
 * - `c-bit`: the bit set in an entry means private (AMD64 APM vol. 2, §15.34.5); clear, shared.
 * - `vtom`: addresses with the bit set lie at or above the virtual top of memory and are shared; below, private (§15.36.8).
 *   The C-bit is reserved then: give `physicalBits` no more than its position.
 */
export interface MemoryEncryption {
  readonly mode: 'c-bit' | 'vtom';
  /** The bit's position in an entry: 32 to 51. CPUID Fn8000_001F EBX[5:0] tells that of the C-bit. */
  readonly bit: number;
}

/** What a processor's paging is like. Frozen; made by {@link pagingConfig}. */
export interface PagingConfig {
  /** Levels of table: 4, or 5 with CR4.LA57. */
  readonly levels: 4 | 5;
  /** MAXPHYADDR, 32 to 52: CPUID Fn8000_0008 EAX[7:0]. Address bits from there on are reserved, but for the encryption bit. */
  readonly physicalBits: number;
  /** Memory encryption, or `undefined` for none. */
  readonly encryption: MemoryEncryption | undefined;
  /** EFER.NXE: without it, bit 63 of an entry is reserved. */
  readonly noExecute: boolean;
  /** CR4.PGE: without it, the global bit has no effect. */
  readonly globalPages: boolean;
  /** CPUID Fn8000_0001 EDX[26]: without it, a PDPT entry cannot map a page. */
  readonly giantPages: boolean;
  /** Who made the processor: on AMD, bit 8 of a PML4E or PML5E must be zero; Intel ignores it. */
  readonly vendor: 'amd' | 'intel';
}

/** {@link PagingConfig} with all of it optional, and a short form for the usual encryption. */
export interface PagingOptions extends Partial<Omit<PagingConfig, 'encryption'>> {
  readonly encryption?: MemoryEncryption | undefined;
  /** Short for `encryption: { mode: 'c-bit', bit }`. 51 on EPYC of the second to fourth generation, 47 on the first. */
  readonly cBit?: number;
}

/**
 * A paging configuration, checked and frozen. What is not given is as on a current EPYC without encryption: 4 levels, 52
 * physical bits, NX, global pages, 1 GiB pages, vendor AMD. O(1).
 *
 * @throws PageTableError `INVALID_CONFIG`
 */
export function pagingConfig(options: PagingOptions = {}): PagingConfig {
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

/** The registers that {@link pagingConfigFromRegisters} takes apart. */
export interface PagingRegisters {
  readonly cr4: bigint;
  /** A dump may lack it: then `noExecute` is as the options say. */
  readonly efer?: bigint;
}

/**
 * The configuration that registers ask for: CR4.LA57, bit 12, is `levels`, CR4.PGE, bit 7, is `globalPages` (AMD64 APM
 * vol. 2, §3.1.3), and EFER.NXE, bit 11, is `noExecute` (§3.1.7). What they do not say (widths, encryption, vendor) is in
 * `options`. O(1).
 *
 * @throws PageTableError `INVALID_CONFIG`
 */
export function pagingConfigFromRegisters(
  registers: PagingRegisters,
  options: PagingOptions = {},
): PagingConfig {
  const { cr4, efer } = registers;
  const bit = (field: string, register: bigint, position: number): boolean => {
    if (typeof register !== 'bigint' || BigInt.asUintN(64, register) !== register) {
      throw invalid(field, register, 'pass a bigint of 64 bits');
    }
    return ((register >> BigInt(position)) & 1n) === 1n;
  };
  return pagingConfig({
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
  const { mode, bit } = encryption ?? { mode: 'c-bit', bit: cBit };
  if (mode !== 'c-bit' && mode !== 'vtom') throw invalid('encryption.mode', mode, "pass 'c-bit' or 'vtom'");
  if (bit === undefined || !Number.isInteger(bit) || bit < 32 || bit > 51) {
    throw invalid(encryption === undefined ? 'cBit' : 'encryption.bit', bit, 'pass an integer from 32 to 51');
  }
  return Object.freeze({ mode, bit });
}

function invalid(field: string, value: unknown, expected: string): PageTableError {
  return new PageTableError('INVALID_CONFIG', { field, value, expected });
}
