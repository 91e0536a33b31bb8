import type { VirtAddr } from '@svsm/address';

/**
 * The receiver of flush requests. A page table calls it after each change to a present entry that a processor may not
 * notice without a flush (AMD64 APM vol. 2, §5.5.2). The listener decides when to flush: at once, or later in a batch.
 */
export interface TlbListener {
  /**
   * Reports that cached translations of `bytes` bytes from `start` are stale until they are flushed. An operation on a
   * region makes one call for each run of pages that it has changed.
   *
   * It may use memory and other page tables. It may not call the page table or part that calls it, which throws `BUSY`. If it
   * throws, the change is in place already: the other calls follow, and the operation throws `CALLBACK_FAILED`. An operation
   * whose memory fails in the middle throws the error of the memory.
   *
   * @param start - a multiple of 4096
   * @param bytes - a multiple of 4096
   * @param operation - the name of the method that made the change
   */
  needsFlush(start: VirtAddr, bytes: number, operation: string): void;
}
