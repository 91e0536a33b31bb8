import type { PhysAddr } from '@svsm/address';
import { PageSize } from '@svsm/address';
import type { RmpPageSize, VmplMasks } from './rmp-entry.ts';
import { SnpError } from './snp-error.ts';

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

const PAGE_BITS = 0xf_ffff_ffff_f000n;

/** Takes a record apart (MDATA: AMD-ASPFW `sev_mcmd.h`). O(1). @throws SnpError `INVALID_ARGUMENT` if it is not 64 bytes long */
export function decodeSwapRecord(bytes: Uint8Array): SwapRecord {
  const view = viewOf(bytes);
  const entry = view.getBigUint64(0x20, true);
  const has = (bit: bigint): boolean => ((entry >> bit) & 1n) !== 0n;
  return Object.freeze({
    softwareData: view.getBigUint64(0, true),
    iv: view.getBigUint64(8, true),
    tag: bytes.slice(0x10, 0x20),
    ...{ valid: has(0n), validated: has(1n), vmsa: has(2n), metadata: has(3n) },
    pageSize: has(4n) ? PageSize.Huge : PageSize.Regular,
    gpa: (entry & PAGE_BITS) as PhysAddr,
    vmplMasks: Object.freeze([...bytes.slice(0x28, 0x2c)]) as unknown as VmplMasks,
  });
}

/** The reverse of {@link decodeSwapRecord}. Fields are cut off at their width. O(1). */
export function encodeSwapRecord(record: SwapRecord): Uint8Array {
  const bytes = new Uint8Array(SWAP_RECORD_SIZE);
  const view = viewOf(bytes);
  const { valid, validated, vmsa, metadata, pageSize, gpa } = record;
  const flags = [valid, validated, vmsa, metadata, pageSize === PageSize.Huge];
  const bits = flags.reduce((sum, flag, i) => sum + (flag ? 1 << i : 0), 0);
  view.setBigUint64(0, record.softwareData, true);
  view.setBigUint64(8, record.iv, true);
  bytes.set(record.tag.subarray(0, 16), 0x10);
  view.setBigUint64(0x20, (gpa & PAGE_BITS) | BigInt(bits), true);
  bytes.set(record.vmplMasks, 0x28);
  return bytes;
}

function viewOf(bytes: Uint8Array): DataView {
  if (bytes.length !== SWAP_RECORD_SIZE) {
    const expected = `pass ${SWAP_RECORD_SIZE}`;
    throw new SnpError('INVALID_ARGUMENT', { what: 'the number of bytes', value: bytes.length, expected });
  }
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
