import { PAGE_SHIFT, PAGE_SIZE_1G } from '@svsm/address';
import {
  readArgument,
  refuseArgument,
  requireFunction,
  requireInteger,
  requireOneOf,
  requireUint64,
} from './arguments.ts';
import { type Assumptions, DEFAULT_ASSUMPTIONS } from './assumptions.ts';
import { requireOptions } from './options.ts';
import { SnpError } from './snp-error.ts';
import { SysPhys, type SysPhysAddr } from './sys-phys-addr.ts';

/*
 * The address of an RMP entry in system memory: AMD64 APM vol. 2, §15.36.4 (flat) and §15.36.22 (segmented). The first
 * 16 KiB of a table belong to the firmware.
 */

/** A flat table: MSRs C001_0132 and C001_0133. */
export interface FlatRmp {
  /** RMP_BASE: the address of its first byte. */
  readonly base: bigint;
  /** RMP_END: the address of its last byte. */
  readonly end: bigint;
}

/** A table in segments: MSRs C001_0132 and C001_0136, CPUID 8000_0025. */
export interface SegmentedRmp {
  /** RMP_BASE: a multiple of 1 MiB. */
  readonly base: bigint;
  /** RmpSegSize: the binary logarithm of the bytes that a segment covers, at least 30; or of MiB, see {@link unit}. */
  readonly segmentShift: number;
  /** The number of segments that the processor uses: NumCachedSegments if it has NumSegReduction, else 512. */
  readonly segments?: number;
  /** The unit of RmpSegSize: bytes if not given. */
  readonly unit?: Assumptions['rmpSegSizeUnit'];
  /** Reads a quadword of system memory. */
  readonly read: (spa: SysPhysAddr) => bigint;
}

const SEGMENTED: readonly (keyof SegmentedRmp)[] = ['base', 'segmentShift', 'segments', 'unit', 'read'];

const BOOKKEEPING = 0x4000n;
const ENTRY_SIZE = 16n;
const SEGMENTS = 512;
const SEGMENT_GIB = 0xf_ffffn;
const SEGMENT_BASE = 0xf_ffff_fff0_0000n;
const SEGMENT_RESERVED = 0xfff0_0000_0000_0000n;

/**
 * The address of the entry for the page of `spa` in a flat table; `undefined` if the table does not cover the page. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if a register is not an unsigned bigint of 64 bits; AddressError if `spa` is not an
 *   address
 *
 * @example
 * ```ts
 * import { flatRmpEntryAddress, sysPhysAddr } from '@svsm/sev-snp/formats';
 *
 * const table = { base: 0x10_0000n, end: 0x110_3fffn };
 * console.log(flatRmpEntryAddress(sysPhysAddr(0x5000), table)?.toString(16)); // => 104050
 * console.log(flatRmpEntryAddress(sysPhysAddr(2n ** 32n), table)); // => undefined
 * ```
 */
export function flatRmpEntryAddress(spa: SysPhysAddr, table: FlatRmp): SysPhysAddr | undefined {
  SysPhys.assertIsAddress(spa);
  const { base, end } = boundsOf(table);
  const at = base + BOOKKEEPING + (spa >> BigInt(PAGE_SHIFT)) * ENTRY_SIZE;
  return at + ENTRY_SIZE - 1n <= end ? SysPhys.address(at) : undefined;
}

/**
 * The number of bytes that a flat table covers, from address 0 on.
 *
 * @throws SnpError `INVALID_ARGUMENT` if a register is not an unsigned bigint of 64 bits
 */
export function flatRmpCoverage(table: FlatRmp): bigint {
  const { base, end } = boundsOf(table);
  const entries = (end + 1n - base - BOOKKEEPING) / ENTRY_SIZE;
  return entries > 0n ? entries << BigInt(PAGE_SHIFT) : 0n;
}

function boundsOf(table: FlatRmp): FlatRmp {
  const expected = 'pass an object with base and end';
  const read = (): FlatRmp => ({ base: table.base, end: table.end });
  const { base, end } = readArgument('a flat RMP', table, expected, read);
  requireUint64('RMP_BASE', base);
  requireUint64('RMP_END', end);
  return { base, end };
}

/**
 * The address of the entry for the page of `spa` in a segmented table; `undefined` if the table does not cover the page.
 * Reads one quadword, of the table of segments. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` for a base, segment size or number of segments that a processor cannot have;
 *   `INVALID_RMP_SEGMENT` if the segment has reserved bits set
 */
export function segmentedRmpEntryAddress(spa: SysPhysAddr, table: SegmentedRmp): SysPhysAddr | undefined {
  SysPhys.assertIsAddress(spa);
  requireOptions('a segmented RMP', table, SEGMENTED);
  const { base, segments = SEGMENTS, read, unit = DEFAULT_ASSUMPTIONS.rmpSegSizeUnit } = table;
  requireUint64('RMP_BASE', base);
  requireInteger('the segment size', table.segmentShift, 0);
  requireOneOf('unit', unit, ['byte', 'MiB']);
  requireFunction('read', read);
  const segmentShift = table.segmentShift + (unit === 'MiB' ? 20 : 0);
  if (base % 0x10_0000n !== 0n) refuseArgument('RMP_BASE', base, 'pass a multiple of 1 MiB');
  if (segmentShift < 30 || segmentShift > 51) {
    refuseArgument('the segment size', segmentShift, 'the binary logarithm of its bytes must be 30 to 51');
  }
  requireInteger('the number of segments', segments, 0, SEGMENTS);
  const shift = BigInt(segmentShift);
  const index = spa >> shift;
  if (index >= BigInt(segments)) return undefined;
  const segment = read(SysPhys.address(base + BOOKKEEPING + 8n * index));
  requireUint64('the quadword that read returns', segment);
  if ((segment & SEGMENT_RESERVED) !== 0n) throw new SnpError('INVALID_RMP_SEGMENT', { spa, segment });
  const offset = spa & ((1n << shift) - 1n);
  if (offset / BigInt(PAGE_SIZE_1G) >= (segment & SEGMENT_GIB)) return undefined;
  const at = (segment & SEGMENT_BASE) + (offset >> BigInt(PAGE_SHIFT)) * ENTRY_SIZE;
  return SysPhys.address(at);
}
