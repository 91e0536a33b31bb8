import { type Bytes, byteCount, PAGE_SIZE } from '@svsm/address';
import { BuddyError } from './buddy-error.ts';

const PAGE_BYTES = /* @__PURE__ */ BigInt(PAGE_SIZE);
const MAX_BYTES = 1n << 64n;

/**
 * The least order whose block, 2^order pages of 4 KiB, holds `bytes` bytes: what `allocatePages` takes. O(1).
 *
 * 0 to 4096 bytes need order 0, 4097 need order 1, 2^64 need order 52.
 *
 * @param bytes - bytes, from 0 to 2^64
 * @throws AddressError `INVALID_BYTE_COUNT`; BuddyError `SIZE_TOO_LARGE` past 2^64
 */
export function getOrder(bytes: Bytes): number {
  const size = byteCount(bytes);
  if (size > MAX_BYTES) throw new BuddyError('SIZE_TOO_LARGE', { size, max: MAX_BYTES });
  if (size <= PAGE_BYTES) return 0;
  // As many bits as the index of the last page has.
  return ((size - 1n) / PAGE_BYTES).toString(2).length;
}
