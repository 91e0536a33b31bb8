import { type Bytes, byteCount, PAGE_SIZE } from '@svsm/address';
import { BuddyError } from './buddy-error.ts';

const PAGE_BYTES = /* @__PURE__ */ BigInt(PAGE_SIZE);
const MAX_BYTES = 1n << 64n;

/**
 * The least order whose block holds `bytes` bytes, to be passed to `allocatePages`. A block of order n has 2^n pages of
 * 4 KiB. O(1).
 *
 * 0 to 4096 bytes need order 0, 4097 bytes need order 1, 2^64 bytes need order 52.
 *
 * @param bytes - 0 to 2^64
 * @throws BuddyError `SIZE_TOO_LARGE`; AddressError `INVALID_BYTE_COUNT`
 */
export function getOrder(bytes: Bytes): number {
  const size = byteCount(bytes);
  if (size > MAX_BYTES) throw new BuddyError('SIZE_TOO_LARGE', { size, max: MAX_BYTES });
  if (size <= PAGE_BYTES) return 0;
  // The number of bits in the index of the last page.
  return ((size - 1n) / PAGE_BYTES).toString(2).length;
}
