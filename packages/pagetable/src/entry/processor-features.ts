import { EferFlags, has } from './control-flags.ts';
import { ANY, type Field, Fields } from './fields.ts';
import { PageTableError } from './page-table-error.ts';

/**
 * The features of a processor that decide which values its control registers take. Frozen; made by
 * {@link processorFeatures}. It can be passed to `pagingConfigFromRegisters` as its options.
 */
export interface ProcessorFeatures {
  /** The manufacturer: decides what a write drops from the TLB. */
  readonly vendor: 'amd' | 'intel';
  /** MAXPHYADDR, 32 to 52: CPUID Fn8000_0008 EAX[7:0]. Bits of CR3 and of a PDPTE from there on are reserved. */
  readonly physicalBits: number;
  /**
   * The bits of CR4 that software may set. All others are reserved. With LAM_SUP, bit 28, a processor of Intel has LAM: bits 61
   * and 62 of CR3 are not reserved.
   */
  readonly cr4Mask: bigint;
  /** The bits of EFER that software may set, LMA included. All others are reserved. */
  readonly eferMask: bigint;
  /** The position of the C-bit, 32 to 51: it is legal in CR3 and in a PDPTE (AMD64 APM vol. 2, §15.34.5). Absent: none. */
  readonly cBit?: number;
  /**
   * The effect of the bit LMA in a value written to EFER. `ignored`: none. `checked`: #GP(0) if it differs from the
   * register's (AMD64 APM vol. 2, §3.1.7). Rule P50.
   */
  readonly lmaWrites: 'ignored' | 'checked';
}

/** CR4.LAM_SUP. */
const LAM_SUP = 1n << 28n;
/** CR3.LAM_U57 and CR3.LAM_U48. */
const LAM_USER = 3n << 61n;

/** The masks that {@link processorFeatures} takes if none are passed. */
const MASKS = {
  // AMD64 APM vol. 2, figures 3-7 and 3-9, without the deprecated EFER.LMSLE.
  amd: { cr4Mask: 0xf7_1fffn, eferMask: 0x36_dd01n },
  // Intel SDM vol. 3A, §2.5, up to PKS and UINTR, without SMX and KL; vol. 4, table 2-2.
  intel: { cr4Mask: 0x3f7_3fffn, eferMask: 0xd01n },
} as const;

/**
 * The features of a processor, checked and frozen. Default: a current EPYC without a C-bit, 52 physical bits. With
 * `vendor: 'intel'`, the masks are those of a current Xeon. O(1).
 *
 * @throws PageTableError `INVALID_CONFIG`
 */
export function processorFeatures(options: Partial<ProcessorFeatures> = {}): ProcessorFeatures {
  OPTIONS.require(options);
  const { vendor = 'amd', physicalBits = 52, cBit, lmaWrites = 'ignored' } = options;
  if (vendor !== 'amd' && vendor !== 'intel') throw invalid('vendor', vendor, "pass 'amd' or 'intel'");
  if (!Number.isInteger(physicalBits) || physicalBits < 32 || physicalBits > 52) {
    throw invalid('physicalBits', physicalBits, 'pass an integer from 32 to 52');
  }
  const { cr4Mask = MASKS[vendor].cr4Mask, eferMask = MASKS[vendor].eferMask } = options;
  for (const [field, value] of Object.entries({ cr4Mask, eferMask })) {
    if (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value) {
      throw invalid(field, value, 'pass a bigint of 64 bits');
    }
  }
  if (has(eferMask, EferFlags.Lme) && !has(eferMask, EferFlags.Lma)) {
    throw invalid('eferMask', eferMask, 'set LMA, bit 10, with LME, bit 8');
  }
  if (cBit !== undefined && (!Number.isInteger(cBit) || cBit < 32 || cBit > 51)) {
    throw invalid('cBit', cBit, 'pass an integer from 32 to 51');
  }
  if (lmaWrites !== 'ignored' && lmaWrites !== 'checked') {
    throw invalid('lmaWrites', lmaWrites, "pass 'ignored' or 'checked'");
  }
  return Object.freeze({
    vendor,
    physicalBits,
    cr4Mask,
    eferMask,
    ...(cBit === undefined ? {} : { cBit }),
    lmaWrites,
  });
}

/** Requires features. Those of {@link processorFeatures} pass at once. @throws PageTableError `INVALID_CONFIG` */
export function requireFeatures(cpu: ProcessorFeatures): void {
  FEATURES.require(cpu);
}

/** The bits of an address field that must be 0: bits 63:MAXPHYADDR without the C-bit. */
export function reservedAddressBits({ physicalBits, cBit }: ProcessorFeatures): bigint {
  const high = (1n << 64n) - (1n << BigInt(physicalBits));
  return cBit === undefined ? high : high & ~(1n << BigInt(cBit));
}

/**
 * The bits of CR3 that must be 0. A processor with LAM, whose CR4 has LAM_SUP, has LAM_U57 and LAM_U48 in bits 61 and 62 (Intel
 * SDM vol. 3A, §2.5; rule P80).
 */
export function reservedCr3Bits(features: ProcessorFeatures): bigint {
  const hasLam = features.vendor === 'intel' && has(features.cr4Mask, LAM_SUP);
  return reservedAddressBits(features) & ~(hasLam ? LAM_USER : 0n);
}

function invalid(
  field: string,
  value: unknown,
  expected: string,
  options?: ErrorOptions,
): PageTableError<'INVALID_CONFIG'> {
  return new PageTableError('INVALID_CONFIG', { field, value, expected }, options);
}

const OPTIONS: Fields = /* @__PURE__ */ new Fields(
  'options',
  { vendor: ANY, physicalBits: ANY, cr4Mask: ANY, eferMask: ANY, cBit: ANY, lmaWrites: ANY },
  invalid,
);

const GIVEN: Field = { accepts: (value) => value !== undefined, expected: 'pass ProcessorFeatures' };
/** `processorFeatures` checks the values. */
const FEATURES: Fields = /* @__PURE__ */ new Fields(
  'cpu',
  { vendor: GIVEN, physicalBits: GIVEN, cr4Mask: GIVEN, eferMask: GIVEN, lmaWrites: GIVEN },
  invalid,
  true,
);
