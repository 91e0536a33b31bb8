import type { PhysAddr } from '@svsm/address';
import { PageSize } from '@svsm/address';
import {
  type ByteFields,
  fieldsOf,
  readFields,
  requireBytes,
  requireFlags,
  requireLength,
  requirePageAddress,
  requirePageSize,
  writeFields,
} from './byte-fields.ts';
import type { RmpPageSize, VmplMasks } from './rmp-entry.ts';
import { VMPL_COUNT } from './vmpl.ts';

/** The firmware's record of a swapped-out page. */
export interface SwapRecord {
  /** Data of the hypervisor, which the firmware ignores. */
  readonly softwareData: bigint;
  /** The vector that the page was sealed with. It is used once. */
  readonly iv: bigint;
  /** The tag over content and record: 16 bytes. */
  readonly tag: Uint8Array;
  /** Whether the record is in use. A swap-in clears it. */
  readonly valid: boolean;
  readonly validated: boolean;
  readonly vmsa: boolean;
  /** Whether the page is a metadata page. */
  readonly metadata: boolean;
  readonly pageSize: RmpPageSize;
  readonly gpa: PhysAddr;
  readonly vmplMasks: VmplMasks;
}

/** The size of a record in bytes. */
export const SWAP_RECORD_SIZE = 64;
/** The number of records in a page. */
export const SWAP_RECORDS_PER_PAGE = 64;

const FIELDS = {
  softwareData: [0x00, 8],
  iv: [0x08, 8],
  /** Flags in bits 4:0, the address of the page in bits 63:12. */
  page: [0x20, 8],
} as const satisfies ByteFields;

const RECORD: readonly (keyof SwapRecord)[] = [
  ...(['softwareData', 'iv', 'tag', 'valid', 'validated'] as const),
  ...(['vmsa', 'metadata', 'pageSize', 'gpa', 'vmplMasks'] as const),
];

const TAG = 0x10;
const TAG_SIZE = 16;
const MASKS = 0x28;
const PAGE_BITS = 0xf_ffff_ffff_f000n;

/**
 * Decodes a record (MDATA: AMD-ASPFW `sev_mcmd.h`). O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if `bytes` are not 64 bytes
 */
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

/** The reverse of {@link decodeSwapRecord}. O(1). @throws SnpError `INVALID_MESSAGE` if a field does not fit */
export function encodeSwapRecord(record: SwapRecord): Uint8Array {
  const bytes = new Uint8Array(SWAP_RECORD_SIZE);
  const { softwareData, iv, tag, valid, validated, vmsa, metadata, pageSize, gpa, vmplMasks } = fieldsOf(
    'a swap record',
    record,
    RECORD,
  );
  requireFlags({ valid, validated, vmsa, metadata });
  requirePageSize('pageSize', pageSize);
  requirePageAddress('gpa', gpa, 52);
  requireBytes('tag', tag, TAG_SIZE);
  requireBytes('vmplMasks', vmplMasks, VMPL_COUNT);
  const flags = [valid, validated, vmsa, metadata, pageSize === PageSize.Huge];
  const bits = flags.reduce((sum, flag, i) => sum + (flag ? 1 << i : 0), 0);
  writeFields(bytes, FIELDS, { softwareData, iv, page: gpa | BigInt(bits) });
  bytes.set(tag, TAG);
  bytes.set(vmplMasks, MASKS);
  return bytes;
}
