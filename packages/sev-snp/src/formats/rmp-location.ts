import { PAGE_SHIFT, PAGE_SIZE_1G } from '@svsm/address';
import { type Assumptions, DEFAULT_ASSUMPTIONS } from './assumptions.ts';
import { SnpError } from './snp-error.ts';
import { SysPhys, type SysPhysAddr } from './sys-phys-addr.ts';

/*
 * Where in system memory the entry of a page lies: AMD64 APM vol. 2, §15.36.4 (flat) and §15.36.22 (segmented). A table
 * begins with 16 KiB of the firmware's own.
 */

/** A table in one piece: MSRs C001_0132 and C001_0133. */
export interface FlatRmp {
  /** RMP_BASE: its first byte. */
  readonly base: bigint;
  /** RMP_END: its last byte. */
  readonly end: bigint;
}

/** A table in segments: MSRs C001_0132 and C001_0136, CPUID 8000_0025. */
export interface SegmentedRmp {
  /** RMP_BASE: a multiple of 1 MiB. */
  readonly base: bigint;
  /** RmpSegSize: log2 of the bytes of memory of which a segment holds the entries, at least 30; or of MiB: see {@link unit}. */
  readonly segmentShift: number;
  /** How many segments the processor looks at: NumCachedSegments if it has NumSegReduction, else all 512. */
  readonly segments?: number;
  /** What RmpSegSize counts: bytes if not given. */
  readonly unit?: Assumptions['rmpSegSizeUnit'];
  /** Reads the quadword at an address of system memory. */
  readonly read: (spa: SysPhysAddr) => bigint;
}

const BOOKKEEPING = 0x4000n;
const ENTRY_SIZE = 16n;
const SEGMENTS = 512;
const SEGMENT_GIB = 0xf_ffffn;
const SEGMENT_BASE = 0xf_ffff_fff0_0000n;
const SEGMENT_RESERVED = 0xfff0_0000_0000_0000n;

/** Where the entry of the page of `spa` lies in a flat table, or `undefined` if it does not cover it. O(1). */
export function flatRmpEntryAddress(spa: SysPhysAddr, { base, end }: FlatRmp): SysPhysAddr | undefined {
  SysPhys.assertIsAddress(spa);
  const at = base + BOOKKEEPING + (spa >> BigInt(PAGE_SHIFT)) * ENTRY_SIZE;
  return at + ENTRY_SIZE - 1n <= end ? SysPhys.address(at) : undefined;
}

/** Bytes of memory that a flat table covers, from 0 on. */
export function flatRmpCoverage({ base, end }: FlatRmp): bigint {
  const entries = (end + 1n - base - BOOKKEEPING) / ENTRY_SIZE;
  return entries > 0n ? entries << BigInt(PAGE_SHIFT) : 0n;
}

/**
 * Where the entry of the page of `spa` lies in a segmented table, or `undefined` if it does not cover it. Reads one
 * quadword, of the table of segments. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` for a base or segment size that no processor takes; `INVALID_RMP_SEGMENT` if the
 *   segment has reserved bits set
 */
export function segmentedRmpEntryAddress(spa: SysPhysAddr, table: SegmentedRmp): SysPhysAddr | undefined {
  SysPhys.assertIsAddress(spa);
  const refuse = (what: string, value: unknown, expected: string): never => {
    throw new SnpError('INVALID_ARGUMENT', { what, value, expected });
  };
  const { base, segments = SEGMENTS, read, unit = DEFAULT_ASSUMPTIONS.rmpSegSizeUnit } = table;
  const segmentShift = table.segmentShift + (unit === 'MiB' ? 20 : 0);
  if (base % 0x10_0000n !== 0n) refuse('RMP_BASE', base, 'pass a multiple of 1 MiB');
  if (!Number.isInteger(segmentShift) || segmentShift < 30 || segmentShift > 51) {
    refuse('the segment size', segmentShift, 'pass what makes 30 to 51, the binary logarithm of its bytes');
  }
  if (!Number.isInteger(segments) || segments < 0 || segments > SEGMENTS) {
    refuse('the number of segments', segments, `pass 0 to ${SEGMENTS}`);
  }
  const shift = BigInt(segmentShift);
  const index = spa >> shift;
  if (index >= BigInt(segments)) return undefined;
  const segment = read(SysPhys.address(base + BOOKKEEPING + 8n * index));
  if ((segment & SEGMENT_RESERVED) !== 0n) throw new SnpError('INVALID_RMP_SEGMENT', { spa, segment });
  const offset = spa & ((1n << shift) - 1n);
  if (offset / BigInt(PAGE_SIZE_1G) >= (segment & SEGMENT_GIB)) return undefined;
  const at = (segment & SEGMENT_BASE) + (offset >> BigInt(PAGE_SHIFT)) * ENTRY_SIZE;
  return SysPhys.address(at);
}
