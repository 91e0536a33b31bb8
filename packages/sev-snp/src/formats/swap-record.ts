import type { PhysAddr } from '@svsm/address';
import { PageSize } from '@svsm/address';
import { type ByteFields, readFields, requireLength, writeFields } from './byte-fields.ts';
import type { RmpPageSize, VmplMasks } from './rmp-entry.ts';

/** What the firmware keeps of a page that is swapped out. */
export interface SwapRecord {
  /** Of the hypervisor's: the firmware does not look at it. */
  readonly softwareData: bigint;
  /** What the page was sealed with: never the same twice. */
  readonly iv: bigint;
  /** Sixteen bytes over content and record. */
  readonly tag: Uint8Array;
  /** Whether it stands for a page: cleared once that was swapped in. */
  readonly valid: boolean;
  readonly validated: boolean;
  readonly vmsa: boolean;
  /** Whether the page held records itself. */
  readonly metadata: boolean;
  readonly pageSize: RmpPageSize;
  readonly gpa: PhysAddr;
  readonly vmplMasks: VmplMasks;
}

/** Bytes of a record, and how many a page has. */
export const SWAP_RECORD_SIZE = 64;
export const SWAP_RECORDS_PER_PAGE = 64;

const FIELDS = {
  softwareData: [0x00, 8],
  iv: [0x08, 8],
  /** Flags in bits 4:0, the address of the page in bits 63:12. */
  page: [0x20, 8],
} as const satisfies ByteFields;

const TAG = 0x10;
const TAG_SIZE = 16;
const MASKS = 0x28;
const PAGE_BITS = 0xf_ffff_ffff_f000n;

/** Takes a record apart (MDATA: AMD-ASPFW `sev_mcmd.h`). O(1). @throws SnpError `INVALID_ARGUMENT` if it is not 64 bytes long */
export function decodeSwapRecord(bytes: Uint8Array): SwapRecord {
  requireLength(bytes, SWAP_RECORD_SIZE, 'a swap record');
  const { softwareData, iv, page } = readFields(bytes, FIELDS);
  const has = (bit: bigint): boolean => ((page >> bit) & 1n) !== 0n;
  return Object.freeze({
    softwareData,
    iv,
    tag: bytes.slice(TAG, TAG + TAG_SIZE),
    valid: has(0n),
    validated: has(1n),
    vmsa: has(2n),
    metadata: has(3n),
    pageSize: has(4n) ? PageSize.Huge : PageSize.Regular,
    gpa: (page & PAGE_BITS) as PhysAddr,
    vmplMasks: Object.freeze([...bytes.slice(MASKS, MASKS + 4)]) as unknown as VmplMasks,
  });
}

/** The reverse of {@link decodeSwapRecord}. Fields are cut off at their width. O(1). */
export function encodeSwapRecord(record: SwapRecord): Uint8Array {
  const bytes = new Uint8Array(SWAP_RECORD_SIZE);
  const { softwareData, iv, tag, valid, validated, vmsa, metadata, pageSize, gpa, vmplMasks } = record;
  const flags = [valid, validated, vmsa, metadata, pageSize === PageSize.Huge];
  const bits = flags.reduce((sum, flag, i) => sum + (flag ? 1 << i : 0), 0);
  writeFields(bytes, FIELDS, { softwareData, iv, page: (gpa & PAGE_BITS) | BigInt(bits) });
  bytes.set(tag.subarray(0, TAG_SIZE), TAG);
  bytes.set(vmplMasks, MASKS);
  return bytes;
}
