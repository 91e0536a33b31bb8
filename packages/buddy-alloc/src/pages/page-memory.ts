import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { BuddyError } from './buddy-error.ts';

/**
 * The memory behind an allocator's pages. The allocator uses it to clear pages, and for the option `poison`. The methods may
 * not call the allocator: that throws `BUSY`. If one of them throws, the operation changes nothing and throws that error.
 */
export interface PageMemory<A extends Address> {
  /** Fills the 4096 bytes from `page` with zeros. */
  clearPage(page: A): void;
  /** Returns a view of `length` bytes at `address`, not a copy. Only `poison` needs it. */
  bytes?(address: A, length: number): Uint8Array;
}

/**
 * Checks that a memory which tells its bounds, as `ByteMemory` does, has all bytes of `region`.
 *
 * @throws BuddyError `MEMORY_MISMATCH`
 */
export function requireCovered(memory: object, { start, end, isEmpty }: MemoryRegion<Address>): void {
  const { origin, byteLength } = memory as { readonly origin?: unknown; readonly byteLength?: unknown };
  if (typeof origin !== 'bigint' || typeof byteLength !== 'number' || isEmpty) return;
  const memoryEnd = origin + BigInt(byteLength);
  if (origin <= start && end <= memoryEnd) return;
  throw new BuddyError('MEMORY_MISMATCH', {
    region: { start, end },
    memory: { start: origin, end: memoryEnd },
  });
}
