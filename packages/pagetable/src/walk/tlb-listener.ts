import type { VirtAddr } from '@svsm/address';

/**
 * Who is told that translations have changed. A page table calls it after it has changed a present entry in a way that
 * a processor may not notice (AMD64 APM vol. 2, §5.5.2); what it does is up to the TLB behind it: mark, batch, flush.
 */
export interface TlbListener {
  /**
   * Cached translations of the `bytes` bytes from `start` on are out of date until they are flushed. An operation on a
   * region calls it once for each run of pages that it has changed.
   *
   * @param start - a multiple of 4096
   * @param bytes - a multiple of 4096
   * @param operation - the method that has changed them
   */
  needsFlush(start: VirtAddr, bytes: number, operation: string): void;
}
